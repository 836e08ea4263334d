//! Medians, and what the kernel counts for a process.

use std::fs;
use std::time::Duration;

/// The middle one; of an even number the upper of the two.
///
/// # Panics
/// When there is none, or one is no number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that this share of the sorted values does not exceed.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = (sorted.len() as f64 * share) as usize;
    sorted
        .get(position.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// User and system time of a process so far (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs");
    // The name before may hold anything.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks = [fields[11], fields[12]].map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.iter().sum::<u64>() * 10)
}

/// Resident memory in bytes, now and at its peak (proc_pid_status(5)).
pub fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
    let kilobytes = |label: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .expect("the line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    (kilobytes("VmRSS:") * 1024, kilobytes("VmHWM:") * 1024)
}
