//! Measures average chunk sizes on real folders: `cargo run --example chunk_sizes -- FOLDER...`
//!
//! Prints one line for each average: chunks, bytes that are left after equal chunks are kept once, and bytes after zstd
//! level 3. Decision 0003 holds the numbers that the format's sizes were chosen by. All folders given are measured as one.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use fastcdc::v2020::FastCDC;
use vfs_core::limits::INLINE_MAX;

const AVERAGES_KIB: [usize; 5] = [64, 128, 256, 512, 1024];

#[derive(Default)]
struct Sums {
    files: u64,
    bytes: u64,
    chunks: u64,
    seen: HashSet<[u8; 32]>,
    unique_bytes: u64,
    compressed_bytes: u64,
}

fn files(folder: &Path, list: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), list),
            Ok(kind) if kind.is_file() => list.push(entry.path()),
            _ => {}
        }
    }
}

fn measure(sums: &mut Sums, content: &[u8], average: usize) {
    sums.files += 1;
    sums.bytes += content.len() as u64;
    if content.len() <= INLINE_MAX {
        return;
    }
    for chunk in FastCDC::new(content, average / 4, average, average * 4) {
        let piece = &content[chunk.offset..chunk.offset + chunk.length];
        sums.chunks += 1;
        if sums.seen.insert(*blake3::hash(piece).as_bytes()) {
            sums.unique_bytes += piece.len() as u64;
            let packed = zstd::bulk::compress(piece, 3).expect("because memory can be compressed");
            let pays = packed.len() + piece.len() / 16 <= piece.len();
            sums.compressed_bytes += if pays { packed.len() } else { piece.len() } as u64;
        }
    }
}

fn print(average_kib: usize, sums: &Sums) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{average_kib} KiB | {} files | {:.1} MiB | {} chunks, {} unique | {:.1} MiB unique | {:.1} MiB compressed",
        sums.files,
        mib(sums.bytes),
        sums.chunks,
        sums.seen.len(),
        mib(sums.unique_bytes),
        mib(sums.compressed_bytes),
    );
}

fn main() {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut list = Vec::new();
    folders.iter().for_each(|folder| files(folder, &mut list));
    for average_kib in AVERAGES_KIB {
        let mut sums = Sums::default();
        for content in list.iter().filter_map(|path| fs::read(path).ok()) {
            measure(&mut sums, &content, average_kib * 1024);
        }
        print(average_kib, &sums);
    }
}
