//! The images that docker-compose.yml names. None is pulled: they are made of programs of this machine, laid out as the
//! official ones are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::engine::Engine;
use super::root_fs::RootFs;
use crate::support::{options, project};

/// The names of the images, by the variables that docker-compose.yml takes them from.
pub struct Images {
    prefix: String,
}

impl Images {
    /// Builds them all; `user` is whom the services run as, `UID:GID`.
    pub fn build(engine: &Engine, folder: &Path, prefix: &str, user: &str) -> Self {
        let images = Self {
            prefix: prefix.to_owned(),
        };
        let users = users(user);
        let new = |name: &str| RootFs::new(folder.join(name));
        for (name, files) in [
            ("nats", nats(new("nats"), &users)),
            ("postgres", postgres(new("postgres"), &users)),
            ("vault", vault(new("vault"), &users)),
            ("build", build_stage(new("build"), &users)),
            ("runtime", runtime(new("runtime"))),
        ] {
            files
                .with_instruction(&format!("LABEL {}", images.label()))
                .import(engine, &images.name(name));
        }
        let arguments = [
            ("BUILD_IMAGE", images.name("build")),
            ("RUNTIME_IMAGE", images.name("runtime")),
        ];
        let arguments = arguments
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        engine.build(&images.name("leafgate"), &project(), &arguments);
        images
    }

    /// The variables of docker-compose.yml and prepare.sh.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("LEAFGATE_IMAGE", self.name("leafgate")),
            ("NATS_IMAGE", self.name("nats")),
            ("POSTGRES_IMAGE", self.name("postgres")),
            ("VAULT_IMAGE", self.name("vault")),
        ]
    }

    /// Removes them, and what was built on the way.
    pub fn remove(&self, engine: &Engine) {
        let names = ["leafgate", "runtime", "build", "vault", "postgres", "nats"];
        let mut remove = engine.command("docker");
        remove.args(["rmi", "--force"]);
        let _ = remove.args(names.map(|name| self.name(name))).status();
        let mut prune = engine.command("docker");
        prune.args(["image", "prune", "--force", "--filter"]);
        let _ = prune.arg(format!("label={}", self.label())).status();
    }

    /// What the images have, and those that are built on them.
    fn label(&self) -> String {
        format!("test={}", self.prefix)
    }

    fn name(&self, of: &str) -> String {
        format!("{}-{of}:local", self.prefix)
    }
}

/// Users by their numbers: initdb insists on a name for its own.
fn users(user: &str) -> String {
    let (uid, gid) = user.split_once(':').unwrap();
    format!("root:x:0:0::/:/bin/sh\nservice:x:{uid}:{gid}::/:/bin/sh\n")
}

/// As the Alpine image of nats-server: with a shell and wget.
fn nats(files: RootFs, users: &str) -> RootFs {
    files
        .with_shell(users)
        .with_file(options().nats_server.path(), "/usr/local/bin/nats-server")
}

fn postgres(files: RootFs, users: &str) -> RootFs {
    let installed = newest_postgres();
    let version = installed.file_name().unwrap().to_str().unwrap();
    let at = format!("/usr/lib/postgresql/{version}");
    let mut files = files
        .with_shell(users)
        .with_text(
            "/usr/local/bin/docker-entrypoint.sh",
            include_str!("images/postgres.sh"),
            0o755,
        )
        .with_tree(
            Path::new("/usr/share/postgresql").join(version).as_path(),
            &format!("/usr/share/postgresql/{version}"),
        )
        .with_file(
            Path::new("/usr/share/zoneinfo/UTC"),
            "/usr/share/zoneinfo/UTC",
        )
        .with_folder("/var/lib/postgresql/data", 0o1777)
        .with_folder("/var/run/postgresql", 0o3777)
        .with_instruction(&format!("ENV PATH={at}/bin:/usr/local/bin:/usr/bin:/bin"))
        .with_instruction("ENTRYPOINT [\"docker-entrypoint.sh\"]");
    for program in ["initdb", "pg_ctl", "pg_isready", "postgres", "psql"] {
        let from = installed.join("bin").join(program);
        files = files
            .with_file(&from, &format!("{at}/bin/{program}"))
            .with_libraries_of(&from);
    }
    // Those that initdb names; the many others are extensions.
    for library in ["dict_snowball.so", "plpgsql.so"] {
        let from = installed.join("lib").join(library);
        files = files
            .with_file(&from, &format!("{at}/lib/{library}"))
            .with_libraries_of(&from);
    }
    files
}

/// Where Debian's packages put the newest version.
fn newest_postgres() -> PathBuf {
    let folder = Path::new("/usr/lib/postgresql");
    let versions = fs::read_dir(folder).expect("Debian's package postgresql");
    let versions = versions.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let newest: u32 = versions.max().expect("Debian's package postgresql");
    folder.join(newest.to_string())
}

fn vault(files: RootFs, users: &str) -> RootFs {
    let servers = project().join(".tools/vault-server");
    let versions = fs::read_dir(&servers).expect("run scripts/build-vault-server.sh");
    let built = versions
        .map(|entry| entry.unwrap().path().join("vault-server"))
        .find(|server| server.is_file())
        .expect("run scripts/build-vault-server.sh");
    files
        .with_shell(users)
        .with_file(&built, "/usr/local/bin/vault-server")
        .with_text(
            "/usr/local/bin/vault",
            include_str!("images/vault.sh"),
            0o755,
        )
}

/// What the Dockerfile builds in.
fn build_stage(files: RootFs, users: &str) -> RootFs {
    let mut files = files
        .with_shell(users)
        .with_text(
            "/usr/local/bin/cargo",
            include_str!("images/cargo.sh"),
            0o755,
        )
        .with_text("/prebuilt/sources", &sources(), 0o644);
    for program in programs() {
        let name = program.file_name().unwrap().to_str().unwrap();
        files = files.with_program(&program, &format!("/prebuilt/programs/{name}"));
    }
    files
}

/// What the Dockerfile puts the programs on: nothing but what they are linked to.
fn runtime(files: RootFs) -> RootFs {
    programs()
        .iter()
        .fold(files, |files, program| files.with_libraries_of(program))
}

fn programs() -> [PathBuf; 3] {
    [
        env!("CARGO_BIN_EXE_leafgate"),
        env!("CARGO_BIN_EXE_leafgate-callout"),
        env!("CARGO_BIN_EXE_leafgate-registry"),
    ]
    .map(PathBuf::from)
}

/// The files of this project that Cargo needs for the programs, a line each: every manifest, all sources of the packages
/// below them, and what those include.
fn sources() -> String {
    let project = project();
    let mut sources = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned()];
    for folder in ["crates", "services", "loadtest", "migrations", "policies"] {
        add_files(&project, Path::new(folder), &mut sources);
    }
    sources.push(String::new());
    sources.join("\n")
}

fn add_files(project: &Path, folder: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(project.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            add_files(project, &path, sources);
        } else if ["toml", "rs", "sql"]
            .map(OsStr::new)
            .contains(&path.extension().unwrap_or_default())
        {
            sources.push(path.to_str().unwrap().to_owned());
        }
    }
}
