//! Images from files of this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::engine::{Engine, succeed};

/// The files of an image in the making, and what it is run with.
pub struct RootFs {
    folder: PathBuf,
    instructions: Vec<String>,
}

impl RootFs {
    /// None yet, in a new folder.
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        Self {
            folder,
            instructions: vec!["ENV PATH=/usr/local/bin:/usr/bin:/bin".to_owned()],
        }
    }

    /// A shell with its usual commands, and the users whom the shell's environment may be run as.
    pub fn with_shell(self, users: &str) -> Self {
        const COMMANDS: [&str; 5] = ["cp", "mkdir", "nc", "sh", "wget"];
        let this = self
            .with_file(Path::new("/usr/bin/busybox"), "/bin/busybox")
            .with_folder("/tmp", 0o1777);
        for command in COMMANDS {
            symlink("busybox", this.place("/bin").join(command)).unwrap();
        }
        this.with_text("/etc/passwd", users, 0o644)
    }

    /// A file of this machine.
    pub fn with_file(self, from: &Path, to: &str) -> Self {
        let place = self.place(to);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(from, &place).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self
    }

    /// A program of this machine without its debug information, and what it is linked to.
    pub fn with_program(self, from: &Path, to: &str) -> Self {
        let this = self.with_file(from, to);
        let mut strip = Command::new("strip");
        strip.arg("--strip-debug").arg(this.place(to));
        succeed(strip);
        this.with_libraries_of(from)
    }

    /// The loader and the libraries that a program needs, none for a static one.
    pub fn with_libraries_of(mut self, program: &Path) -> Self {
        let output = Command::new("ldd").arg(program).output().unwrap();
        for word in String::from_utf8(output.stdout).unwrap().split_whitespace() {
            if word.starts_with('/') && !self.place(word).exists() {
                self = self.with_file(Path::new(word), word);
            }
        }
        self
    }

    /// A folder of this machine with all that is in it.
    pub fn with_tree(self, from: &Path, to: &str) -> Self {
        let place = self.place(to);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("--recursive").arg(from).arg(&place);
        succeed(copy);
        self
    }

    /// A file with this text.
    pub fn with_text(self, path: &str, text: &str, mode: u32) -> Self {
        let place = self.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, text).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// An empty folder.
    pub fn with_folder(self, path: &str, mode: u32) -> Self {
        let place = self.place(path);
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// What a Dockerfile would say beyond the files.
    pub fn with_instruction(mut self, instruction: &str) -> Self {
        self.instructions.push(instruction.to_owned());
        self
    }

    /// Makes the image.
    pub fn import(self, engine: &Engine, image: &str) {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--owner=0", "--group=0", "--directory"])
            .arg(&self.folder)
            .arg(".");
        let mut tar = tar.stdout(Stdio::piped()).spawn().unwrap();
        let mut docker = engine.command("docker");
        docker.arg("import");
        for instruction in &self.instructions {
            docker.args(["--change", instruction]);
        }
        docker.args(["-", image]).stdin(tar.stdout.take().unwrap());
        succeed(docker);
        assert!(tar.wait().unwrap().success());
        fs::remove_dir_all(&self.folder).unwrap();
    }

    fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }
}
