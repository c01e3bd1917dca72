//! Promise P5: one flipped bit is found by `check --full` (exit code 7) and never served.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::chance::{Chance, seed_or};
use crate::world::{Run, World, crate_sources};

/// Every file of the bucket that ends in `.pack`.
pub(crate) fn packs(world: &World) -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "pack") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&world.data().join("bucket"), &mut found);
    found.sort();
    found
}

/// Flips one bit, keeping the file's mode and inode; doing it twice undoes it.
fn flip(path: &Path, position: usize, bit: u64) {
    use std::os::unix::fs::FileExt;
    let mode = fs::metadata(path).unwrap().permissions();
    let mut open = mode.clone();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o600);
    fs::set_permissions(path, open).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position as u64).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], position as u64).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_any_pack_is_found() {
    let world = World::new();
    let (source, _) = crate_sources(&world, "source", 300);
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    world.esker(["check", "--full"]).ok();
    let packs = packs(&world);
    assert!(packs.len() >= 2, "contents and trees are in different packs: {packs:?}");
    let mut chance = Chance::new(seed_or(6));
    for pack in &packs {
        let length = fs::metadata(pack).unwrap().len() as usize;
        // Header, footer, and places between.
        let mut positions = vec![0, 9, length - 1, length - 20];
        positions.extend((0..4).map(|_| chance.below(length as u64) as usize));
        for position in positions {
            let bit = chance.below(8);
            flip(pack, position, bit);
            let found = world.esker(["check", "--full"]);
            assert_eq!(found.code, 7, "bit {bit} of byte {position} of {length} in {}: {found}", pack.display());
            flip(pack, position, bit);
        }
    }
    world.esker(["check", "--full"]).ok();
}

#[test]
fn damaged_content_is_refused_and_the_rest_still_read() {
    let world = World::new();
    let source = world.folder("source");
    let mut chance = Chance::new(seed_or(7));
    let noise: Vec<u8> = (0..40_000).map(|_| chance.bits() as u8).collect();
    fs::write(source.join("victim"), &noise).unwrap();
    fs::write(source.join("tiny"), "inline").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    assert_eq!(world.esker(["cat", "w:victim"]).ok().bytes, noise);

    // Noise does not compress, so it lies in the pack as it is.
    let needle = &noise[10_000..10_032];
    let (pack, position) = packs(&world)
        .into_iter()
        .find_map(|pack| {
            let bytes = fs::read(&pack).unwrap();
            bytes.windows(needle.len()).position(|window| window == needle).map(|position| (pack, position))
        })
        .expect("the content is in a pack");
    flip(&pack, position, 3);
    let refused = world.esker(["cat", "w:victim"]).fails(7);
    assert!(refused.bytes.iter().zip(&noise).all(|(got, right)| got == right), "a wrong byte came out");
    assert_eq!(world.esker(["cat", "w:tiny"]).ok().out, "inline");
    world.command(["export", "w"]).arg(world.path("exported")).run().fails(7);
    flip(&pack, position, 3);
    assert_eq!(world.esker(["cat", "w:victim"]).ok().bytes, noise);
}

#[test]
fn a_missing_pack_is_found() {
    let world = World::new();
    let (source, _) = crate_sources(&world, "source", 100);
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let pack = packs(&world).remove(0);
    fs::rename(&pack, world.path("taken away")).unwrap();
    world.esker(["check"]).fails(7);
    world.esker(["check", "--full"]).fails(7);
    // gc must not take a missing pack for permission to delete.
    let before = packs(&world);
    world.esker(["gc", "--grace", "0"]);
    assert_eq!(packs(&world), before, "gc deleted packs of a damaged repo");
    fs::rename(world.path("taken away"), &pack).unwrap();
    world.esker(["check", "--full"]).ok();
}
