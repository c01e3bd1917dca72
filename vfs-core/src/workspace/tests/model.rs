//! Random operations on a workspace and on a model of a filesystem: after each, both have given the same answer; after
//! kills, checkpoints and failed checkpoints both hold the same (P6, P2).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{World, ask, note};
use crate::error::{Kind, Result};
use crate::object::{FileKind, Ino};
use crate::workspace::{Allocate, Attr, NewNode, RenameMode, Seek, SetAttr, SetXattr, Workspace};

/// A small generator: one seed is one run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize].clone()
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, usize>),
    Symlink(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
struct ModelNode {
    ino: Ino,
    body: Body,
    mode: u16,
    links: u32,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A filesystem that is too simple to be wrong.
struct Model {
    nodes: Vec<ModelNode>,
}

type Outcome<T> = std::result::Result<T, Kind>;

impl Model {
    fn new() -> Model {
        let root = ModelNode {
            ino: Ino::ROOT,
            body: Body::Directory(BTreeMap::new()),
            mode: 0o755,
            links: 1,
            xattrs: BTreeMap::new(),
        };
        Model { nodes: vec![root] }
    }

    fn names(&self, dir: usize) -> &BTreeMap<Vec<u8>, usize> {
        match &self.nodes[dir].body {
            Body::Directory(names) => names,
            _ => panic!("not a directory"),
        }
    }

    fn names_mut(&mut self, dir: usize) -> &mut BTreeMap<Vec<u8>, usize> {
        match &mut self.nodes[dir].body {
            Body::Directory(names) => names,
            _ => panic!("not a directory"),
        }
    }

    fn is_dir(&self, node: usize) -> bool {
        matches!(self.nodes[node].body, Body::Directory(_))
    }

    fn empty(&self, dir: usize) -> bool {
        self.names(dir).is_empty()
    }

    /// All directories that can be reached, with their paths.
    fn directories(&self) -> Vec<(usize, Vec<Vec<u8>>)> {
        let mut all = vec![(0, Vec::new())];
        let mut index = 0;
        while let Some((dir, path)) = all.get(index).cloned() {
            for (name, child) in self.names(dir) {
                if self.is_dir(*child) {
                    let mut path = path.clone();
                    path.push(name.clone());
                    all.push((*child, path));
                }
            }
            index += 1;
        }
        all
    }

    fn below(&self, top: usize, node: usize) -> bool {
        top == node
            || (self.is_dir(top)
                && self.names(top).values().any(|child| self.is_dir(*child) && self.below(*child, node)))
    }

    fn lose(&mut self, node: usize) {
        self.nodes[node].links -= 1;
    }

    fn rename(&mut self, from: (usize, &[u8]), to: (usize, &[u8]), mode: RenameMode) -> Outcome<()> {
        let node = *self.names(from.0).get(from.1).ok_or(Kind::NotFound)?;
        let other = self.names(to.0).get(to.1).copied();
        match (other, mode) {
            (Some(_), RenameMode::NoReplace) => return Err(Kind::AlreadyExists),
            (None, RenameMode::Exchange) => return Err(Kind::NotFound),
            (Some(other), _) if other == node => return Ok(()),
            (Some(other), RenameMode::Replace) => match (self.is_dir(node), self.is_dir(other)) {
                (true, false) => return Err(Kind::NotADirectory),
                (false, true) => return Err(Kind::IsADirectory),
                (true, true) if !self.empty(other) => return Err(Kind::NotEmpty),
                _ => {}
            },
            _ => {}
        }
        if self.below(node, to.0) {
            return Err(Kind::Invalid);
        }
        if let (Some(other), RenameMode::Exchange) = (other, mode) {
            if self.below(other, from.0) {
                return Err(Kind::Invalid);
            }
            self.names_mut(from.0).insert(from.1.to_vec(), other);
        } else {
            self.names_mut(from.0).remove(from.1);
            if let Some(other) = other {
                self.lose(other);
            }
        }
        self.names_mut(to.0).insert(to.1.to_vec(), node);
        Ok(())
    }
}

/// A path with its attributes, content and extended attributes.
type Seen = (Vec<u8>, Attr, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// One run: the workspace, the model, and what leads from one state to the next.
struct Run {
    world: World,
    workspace: Arc<Workspace>,
    model: Model,
    random: Random,
}

const NAMES: [&[u8]; 9] = [b"a", b"b", b"c", b"dd", b"e\xff", b"f f", b"g", b"h", b"zz"];

impl Run {
    async fn start(seed: u64) -> Run {
        let world = World::new();
        let workspace = world.open().await.unwrap();
        Run { world, workspace, model: Model::new(), random: Random(seed) }
    }

    /// Walks from the root; every inode on the way gets one reference, which is given back at once or kept.
    async fn walk(&mut self, path: &[Vec<u8>]) -> Ino {
        let mut ino = Ino::ROOT;
        for name in path {
            let attr = ask(&self.workspace, || self.workspace.lookup(ino, name)).await.unwrap();
            if ino != Ino::ROOT && self.random.below(2) == 0 {
                self.workspace.forget(ino, 1);
            }
            ino = attr.ino;
        }
        ino
    }

    async fn directory(&mut self) -> (usize, Ino) {
        let all = self.model.directories();
        let (dir, path) = self.random.pick(&all);
        let ino = self.walk(&path).await;
        (dir, ino)
    }

    fn name(&mut self) -> &'static [u8] {
        self.random.pick(&NAMES)
    }

    fn same<T, U>(&self, what: &str, ours: &Result<T>, model: &Outcome<U>) {
        let ours = ours.as_ref().map(|_| ()).map_err(|error| error.kind());
        assert_eq!(ours, model.as_ref().map(|_| ()).map_err(|kind| *kind), "{what}");
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..18 => self.make().await,
            18..24 => self.link().await,
            24..34 => self.remove().await,
            34..46 => self.rename().await,
            46..66 => self.write().await,
            66..74 => self.resize().await,
            74..80 => self.zero().await,
            80..86 => self.xattr().await,
            86..90 => self.chmod().await,
            _ => self.look().await,
        }
    }

    async fn make(&mut self) {
        let (dir, parent) = self.directory().await;
        let name = self.name();
        let kind = self.random.pick(&[FileKind::File, FileKind::File, FileKind::Directory, FileKind::Symlink]);
        let length = self.random.pick(&[1, 40, 300, 2000]);
        let target = vec![b't'; if kind == FileKind::Symlink { length } else { 0 }];
        let new = NewNode { kind, mode: 0o640, uid: 5, gid: 6, rdev: 0, target: &target };
        let ours = ask(&self.workspace, || self.workspace.make(parent, name, &new)).await;
        let model = if self.model.names(dir).contains_key(name) { Err(Kind::AlreadyExists) } else { Ok(()) };
        self.same("make", &ours, &model);
        let Ok(attr) = ours else { return };
        let body = match kind {
            FileKind::File => Body::File(Vec::new()),
            FileKind::Directory => Body::Directory(BTreeMap::new()),
            _ => Body::Symlink(target.clone()),
        };
        self.model.nodes.push(ModelNode { ino: attr.ino, body, mode: 0o640, links: 1, xattrs: BTreeMap::new() });
        let node = self.model.nodes.len() - 1;
        self.model.names_mut(dir).insert(name.to_vec(), node);
        self.workspace.forget(attr.ino, 1);
    }

    async fn link(&mut self) {
        let (from, from_ino) = self.directory().await;
        let (to, to_ino) = self.directory().await;
        let (old, new) = (self.name(), self.name());
        let Some(node) = self.model.names(from).get(old).copied() else { return };
        let ino = ask(&self.workspace, || self.workspace.lookup(from_ino, old)).await.unwrap().ino;
        let ours = ask(&self.workspace, || self.workspace.link(ino, to_ino, new)).await;
        let model = match self.model.names(to).contains_key(new) {
            true => Err(Kind::AlreadyExists),
            false if self.model.is_dir(node) => Err(Kind::NotPermitted),
            false => Ok(()),
        };
        self.same("link", &ours, &model);
        if ours.is_ok() {
            self.model.nodes[node].links += 1;
            self.model.names_mut(to).insert(new.to_vec(), node);
        }
    }

    async fn remove(&mut self) {
        let (dir, parent) = self.directory().await;
        let name = self.name();
        let directory = self.random.below(2) == 0;
        let ours = if directory {
            ask(&self.workspace, || self.workspace.rmdir(parent, name)).await
        } else {
            ask(&self.workspace, || self.workspace.unlink(parent, name)).await
        };
        let model = match self.model.names(dir).get(name).copied() {
            None => Err(Kind::NotFound),
            Some(node) => match (self.model.is_dir(node), directory) {
                (true, false) => Err(Kind::IsADirectory),
                (false, true) => Err(Kind::NotADirectory),
                (true, true) if !self.model.empty(node) => Err(Kind::NotEmpty),
                _ => Ok(node),
            },
        };
        self.same("remove", &ours, &model);
        if let Ok(node) = model {
            self.model.names_mut(dir).remove(name);
            self.model.lose(node);
        }
    }

    async fn rename(&mut self) {
        let (from, from_ino) = self.directory().await;
        let (to, to_ino) = self.directory().await;
        let (old, new) = (self.name(), self.name());
        let mode =
            self.random.pick(&[RenameMode::Replace, RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]);
        let ours = ask(&self.workspace, || self.workspace.rename(from_ino, old, to_ino, new, mode)).await;
        let model = self.model.rename((from, old), (to, new), mode);
        self.same("rename", &ours, &model);
    }

    /// Some file that exists, with its node and inode.
    async fn file(&mut self) -> Option<(usize, Ino)> {
        let (dir, parent) = self.directory().await;
        let files: Vec<_> = self.model.names(dir).iter().map(|(name, node)| (name.clone(), *node)).collect();
        let files: Vec<_> =
            files.into_iter().filter(|(_, node)| matches!(self.model.nodes[*node].body, Body::File(_))).collect();
        if files.is_empty() {
            return None;
        }
        let (name, node) = self.random.pick(&files);
        let attr = ask(&self.workspace, || self.workspace.lookup(parent, &name)).await.unwrap();
        assert_eq!(attr.ino, self.model.nodes[node].ino, "inode numbers stay");
        Some((node, attr.ino))
    }

    fn content(&mut self, node: usize) -> &mut Vec<u8> {
        match &mut self.model.nodes[node].body {
            Body::File(content) => content,
            _ => panic!("not a file"),
        }
    }

    /// Small sizes mostly, sometimes ones of several chunks.
    fn offset(&mut self) -> u64 {
        let limit = self.random.pick(&[10, 300, 5000, 5000, 300_000, 1_500_000]);
        self.random.below(limit)
    }

    async fn write(&mut self) {
        let Some((node, ino)) = self.file().await else { return };
        let (offset, length) = (self.offset() as usize, self.offset() as usize);
        let mut bytes = Random(self.random.next());
        let mut data = Vec::with_capacity(length + 8);
        while data.len() < length {
            data.extend_from_slice(&bytes.next().to_le_bytes());
        }
        data.truncate(length);
        ask(&self.workspace, || self.workspace.write(ino, offset as u64, &data, false)).await.unwrap();
        let content = self.content(node);
        if !data.is_empty() {
            content.resize(content.len().max(offset + length), 0);
            content[offset..offset + length].copy_from_slice(&data);
        }
    }

    async fn resize(&mut self) {
        let Some((node, ino)) = self.file().await else { return };
        let size = self.offset();
        let change = SetAttr { size: Some(size), ..SetAttr::default() };
        let attr = ask(&self.workspace, || self.workspace.setattr(ino, &change)).await.unwrap();
        assert_eq!(attr.size, size);
        self.content(node).resize(size as usize, 0);
    }

    async fn zero(&mut self) {
        let Some((node, ino)) = self.file().await else { return };
        let (offset, length) = (self.offset(), self.offset() + 1);
        let keep_size = self.random.below(2) == 0;
        let how = if self.random.below(2) == 0 { Allocate::PunchHole } else { Allocate::ZeroRange { keep_size } };
        ask(&self.workspace, || self.workspace.allocate(ino, offset, length, how)).await.unwrap();
        let content = self.content(node);
        let end = (offset + length) as usize;
        if how == (Allocate::ZeroRange { keep_size: false }) {
            content.resize(content.len().max(end), 0);
        }
        let end = end.min(content.len());
        if let Some(range) = content.get_mut(offset as usize..end) {
            range.fill(0);
        }
    }

    async fn xattr(&mut self) {
        let Some((node, ino)) = self.file().await else { return };
        let name: &[u8] = self.random.pick(&[&b"user.a"[..], b"user.b", b"user.c"]);
        let known = self.model.nodes[node].xattrs.contains_key(name);
        if self.random.below(3) == 0 {
            let ours = ask(&self.workspace, || self.workspace.removexattr(ino, name)).await;
            self.same("removexattr", &ours, &if known { Ok(()) } else { Err(Kind::NoAttribute) });
            self.model.nodes[node].xattrs.remove(name);
            return;
        }
        let value = vec![b'v'; self.random.pick(&[0, 3, 200, 4000])];
        let how = self.random.pick(&[SetXattr::Any, SetXattr::Create, SetXattr::Replace]);
        let ours = ask(&self.workspace, || self.workspace.setxattr(ino, name, &value, how)).await;
        let model = match (known, how) {
            (true, SetXattr::Create) => Err(Kind::AlreadyExists),
            (false, SetXattr::Replace) => Err(Kind::NoAttribute),
            _ => Ok(()),
        };
        self.same("setxattr", &ours, &model);
        if ours.is_ok() {
            self.model.nodes[node].xattrs.insert(name.to_vec(), value);
        }
    }

    async fn chmod(&mut self) {
        let Some((node, ino)) = self.file().await else { return };
        let mode = self.random.below(0o1000) as u16;
        let change = SetAttr { mode: Some(mode), ..SetAttr::default() };
        ask(&self.workspace, || self.workspace.setattr(ino, &change)).await.unwrap();
        self.model.nodes[node].mode = mode;
    }

    /// Reads a piece of a file; looks for holes, which must read as zeros.
    async fn look(&mut self) {
        let Some((node, ino)) = self.file().await else { return };
        let (offset, size) = (self.offset(), self.offset() as usize);
        let read = ask(&self.workspace, || self.workspace.read(ino, offset, size)).await.unwrap();
        let content = self.content(node).clone();
        let start = content.len().min(offset as usize);
        assert_eq!(&read[..], &content[start..content.len().min(start + size)], "content");
        if offset < content.len() as u64 {
            let data = ask(&self.workspace, || self.workspace.seek(ino, offset, Seek::Data)).await;
            let data = data.map_or(content.len() as u64, |data| data);
            assert!(content[offset as usize..data as usize].iter().all(|byte| *byte == 0), "a hole reads as zeros");
        }
    }

    /// Everything that can be seen from the root.
    async fn dump(&self) -> Vec<Seen> {
        let mut dump = Vec::new();
        let mut pending = vec![(Vec::new(), ask(&self.workspace, || self.workspace.getattr(Ino::ROOT)).await.unwrap())];
        while let Some((path, attr)) = pending.pop() {
            let ino = attr.ino;
            let mut xattrs = Vec::new();
            let names = ask(&self.workspace, || self.workspace.listxattr(ino)).await.unwrap();
            for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                let value = ask(&self.workspace, || self.workspace.getxattr(ino, name)).await.unwrap();
                xattrs.push((name.to_vec(), value.to_vec()));
            }
            let content = match attr.kind {
                FileKind::File => ask(&self.workspace, || self.workspace.read(ino, 0, 1 << 24)).await.unwrap().to_vec(),
                FileKind::Symlink => ask(&self.workspace, || self.workspace.readlink(ino)).await.unwrap().to_vec(),
                _ => Vec::new(),
            };
            if attr.kind == FileKind::Directory {
                for name in self.list(ino).await {
                    let child = ask(&self.workspace, || self.workspace.lookup(ino, &name)).await.unwrap();
                    pending.push(([&path[..], b"/", &name].concat(), child));
                }
            }
            // Blocks are known less exactly once the base has the holes.
            dump.push((path, Attr { blocks: 0, ..attr }, content, xattrs));
        }
        dump.sort_by(|a, b| a.0.cmp(&b.0));
        dump
    }

    async fn list(&self, ino: Ino) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut cookie = 0;
        loop {
            let (mut batch, mut next) = (Vec::new(), cookie);
            ask(&self.workspace, || {
                batch.clear();
                self.workspace.list(ino, cookie, false, &mut |listed| {
                    batch.push(listed.name.to_vec());
                    next = listed.cookie;
                    true
                })
            })
            .await
            .unwrap();
            if batch.is_empty() {
                break;
            }
            cookie = next;
            names.append(&mut batch);
        }
        names.retain(|name| name != b"." && name != b"..");
        names
    }

    /// The workspace holds what the model holds.
    async fn check(&self) {
        let mut expected = Vec::new();
        let mut pending = vec![(Vec::new(), 0)];
        while let Some((path, index)) = pending.pop() {
            let node = &self.model.nodes[index];
            if let Body::Directory(names) = &node.body {
                pending.extend(names.iter().map(|(name, child)| ([&path[..], b"/", name].concat(), *child)));
            }
            expected.push((path, node));
        }
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let dump = self.dump().await;
        let paths = |list: Vec<&Vec<u8>>| {
            list.into_iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(paths(dump.iter().map(|row| &row.0).collect()), paths(expected.iter().map(|row| &row.0).collect()));
        for ((path, attr, content, xattrs), (_, node)) in dump.iter().zip(&expected) {
            let path = String::from_utf8_lossy(path);
            assert_eq!((attr.ino, attr.mode), (node.ino, node.mode), "{path}");
            let links = match &node.body {
                Body::Directory(names) => 2 + names.values().filter(|child| self.model.is_dir(**child)).count() as u32,
                _ => node.links,
            };
            assert_eq!(attr.nlink, links, "links of {path}");
            let body: &[u8] = match &node.body {
                Body::File(content) | Body::Symlink(content) => content,
                Body::Directory(_) => &[],
            };
            assert!(content == body, "content of {path}: {} bytes, expected {}", content.len(), body.len());
            assert_eq!(xattrs.iter().cloned().collect::<BTreeMap<_, _>>(), node.xattrs, "attributes of {path}");
        }
    }

    /// What happens between operations: checkpoints that succeed, fail or overlap with work, kills.
    async fn event(&mut self) {
        match self.random.below(4) {
            0 => {
                let before = self.dump().await;
                self.workspace.checkpoint(note("event")).await.unwrap();
                assert_eq!(self.workspace.state.lock().usage, self.world.engine.usage(), "what is held is counted");
                same_dump(&before, &self.dump().await, "a checkpoint changes nothing that can be seen");
            }
            1 => {
                self.world.engine.fail_commits(1);
                let changed = self.workspace.status().changed_inodes > 0;
                assert_eq!(self.workspace.checkpoint(note("")).await.is_err(), changed);
                self.world.engine.fail_commits(0);
            }
            2 => self.overlapping_checkpoint().await,
            _ => self.kill().await,
        }
    }

    async fn kill(&mut self) {
        self.check().await;
        let before = self.dump().await;
        let placeholder = World::new().open().await.unwrap();
        drop(std::mem::replace(&mut self.workspace, placeholder));
        self.workspace = self.world.open().await.unwrap();
        let after = self.dump().await;
        same_dump(&before, &after, "a kill loses nothing that was answered");
    }

    /// Work goes on between the cut and the answer.
    async fn overlapping_checkpoint(&mut self) {
        let engine = self.world.engine.clone();
        let closed = engine.gate.forget_permits(usize::MAX >> 4);
        engine.waiting.forget_permits(usize::MAX >> 4);
        let checkpoint = tokio::spawn({
            let workspace = self.workspace.clone();
            async move { workspace.checkpoint(note("overlapping")).await }
        });
        engine.waiting.acquire().await.unwrap().forget();
        for _ in 0..self.random.below(12) {
            self.step().await;
        }
        engine.gate.add_permits(closed);
        checkpoint.await.unwrap().unwrap();
    }
}

fn same_dump(before: &[Seen], after: &[Seen], what: &str) {
    for (before, after) in before.iter().zip(after) {
        let path = String::from_utf8_lossy(&before.0);
        assert_eq!((&before.0, before.1, &before.3), (&after.0, after.1, &after.3), "{what}: {path}");
        assert!(before.2 == after.2, "{what}: content of {path}");
    }
    let paths = |seen: &[Seen]| {
        seen.iter().map(|seen| (String::from_utf8_lossy(&seen.0).into_owned(), seen.1.ino)).collect::<Vec<_>>()
    };
    assert_eq!(paths(before), paths(after), "{what}");
}

async fn run(seed: u64, steps: u64) {
    println!("seed {seed}");
    let mut run = Run::start(seed).await;
    for _ in 0..steps {
        run.step().await;
        if run.random.below(25) == 0 {
            run.event().await;
            run.check().await;
        }
    }
    run.check().await;
    run.kill().await;
    run.check().await;
}

/// `ESKER_SEED` and `ESKER_STEPS` choose a run; the long suite raises both.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equals_the_model() {
    let first = setting("ESKER_SEED", 1);
    for seed in first..first + setting("ESKER_SEEDS", 12) {
        run(seed, setting("ESKER_STEPS", 400)).await;
    }
}
