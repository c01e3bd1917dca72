//! Whether all other threads of this process sleep: then nothing goes on that an actor could wait for.

/// True if every other thread waits for something. A thread that was woken but has not run yet does not count as asleep.
pub(super) fn others_sleep() -> bool {
    let own = rustix::thread::gettid().as_raw_nonzero().get().to_string();
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return true };
    tasks.flatten().filter(|task| task.file_name().to_string_lossy() != own).all(|task| {
        // A thread that ended meanwhile has no file any more.
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { return true };
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['S', 'Z', 'X']))
    })
}
