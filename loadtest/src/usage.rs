use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// CPU time that a process has used so far in user and kernel mode, all its threads together,
/// those that have ended included (clock_getcpuclockid(3): in nanoseconds, where
/// `/proc/<pid>/stat` counts in ticks of 10 ms).
pub(crate) fn cpu_time(process: Pid) -> Result<Duration> {
    let time = clock_getcpuclockid(process)
        .and_then(ClockId::now)
        .with_context(|| format!("can't read the CPU clock of process {process}"))?;
    Ok(Duration::from(time))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(process: Pid) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .with_context(|| format!("{path} has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_processor_and_memory() {
        let before = cpu_time(Pid::this()).unwrap();
        let mut kept = vec![1_u8; 8 << 20];
        while cpu_time(Pid::this()).unwrap() < before + Duration::from_millis(2) {
            kept.iter_mut()
                .for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        assert!(resident_bytes(Pid::this()).unwrap() >= kept.len() as u64);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        // Above the largest process id that Linux gives out (2^22).
        let nobody = Pid::from_raw(4_194_305);
        assert!(cpu_time(nobody).is_err());
        assert!(resident_bytes(nobody).is_err());
    }
}
