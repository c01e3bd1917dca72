//! A power cut right after the answer: what `create` and `finish` called durable is there. Needs root, ext4 and xfs_io.

use std::io::Write;
use std::path::Path as FilePath;
use std::process::Command;

use super::*;

/// A small ext4 on a loop device. Unmounted when it goes.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Option<Disk> {
        if !run(Command::new("xfs_io").arg("-V")) {
            return None;
        }
        let disk = Disk { folder: tempfile::tempdir().unwrap() };
        std::fs::File::create(disk.image()).unwrap().set_len(64 << 20).unwrap();
        std::fs::create_dir(disk.root()).unwrap();
        (run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image())) && disk.mount()).then_some(disk)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount(&self) -> bool {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.root()))
    }

    /// What was not on the disk yet is lost.
    fn cut_power(&self) {
        assert!(run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.root())), "no xfs_io");
        assert!(run(Command::new("umount").arg(self.root())), "something still uses the disk");
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.root()));
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

fn exists(root: &FilePath, name: &str) -> bool {
    root.join(name).exists()
}

#[tokio::test]
async fn what_was_called_durable_survives_a_power_cut() {
    let Some(disk) = Disk::new() else {
        eprintln!("not tested: it takes root, ext4 and xfs_io");
        return;
    };
    let root = disk.root().join("bucket");
    for round in 0..3 {
        let bucket = Bucket::folder(&root).unwrap();
        // Each in folders of its own, which are as new as the object.
        bucket.create(&format!("c{round}/x/y/created"), Bytes::from_static(b"created")).await.unwrap();
        for parts in [1, 5] {
            let mut upload = bucket.upload(&format!("u{round}/{parts}/z/uploaded"));
            for _ in 0..parts {
                upload.put_part(vec![parts as u8; 100_000].into()).await.unwrap();
            }
            upload.finish().await.unwrap();
        }
        // What a writer that died leaves: on the disk, but not whole.
        let mut unfinished = std::fs::File::create(root.join(format!("u{round}/unfinished#1"))).unwrap();
        unfinished.write_all(b"half").unwrap();
        drop(unfinished);
        std::fs::create_dir(root.join(format!("c{round}/lost"))).unwrap();
        std::fs::write(root.join(format!("c{round}/lost/never-synced")), b"lost").unwrap();
        drop(bucket);
        disk.cut_power();
        let bucket = Bucket::folder(&root).unwrap();
        assert_eq!(bucket.get(&format!("c{round}/x/y/created")).await.unwrap(), "created");
        for parts in [1, 5] {
            let got = bucket.get(&format!("u{round}/{parts}/z/uploaded")).await.unwrap();
            assert_eq!(got, vec![parts as u8; parts * 100_000]);
        }
        assert_eq!(bucket.list(&format!("u{round}")).await.unwrap().len(), 2, "nothing half written is listed");
        assert!(!exists(&root, &format!("c{round}/lost/never-synced")), "the power was not really cut");
    }
}
