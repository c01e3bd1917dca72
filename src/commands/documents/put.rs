//! `esker doc put`: a file, standard input, or a whole folder. What can be refused is refused before anything is
//! written.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use api::client::{Basis, Put};
use api::wire::document::{Document, DocumentsQuery, WriteDocumentQuery};
use vfs_core::documents::DocumentPath;
use vfs_core::limits::{DEPTH_MAX, DOCUMENT_MAX};
use vfs_core::{Error, Kind, Result};

use super::{basis, conflict, named};
use crate::cli::DocPut;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::holder::author;

/// Most files of one folder: a library of skills has hundreds.
const FILES_MAX: usize = 10_000;

/// Writes a document or a folder of them.
pub(crate) async fn run(context: &Context, options: DocPut) -> Outcome {
    match options.file.as_os_str() == "-" || !options.file.is_dir() {
        true => put_file(context, options).await,
        false => put_folder(context, options).await,
    }
}

fn query(options: &DocPut, path: &str) -> WriteDocumentQuery {
    WriteDocumentQuery {
        scope: options.scope.scope.clone(),
        path: path.to_owned(),
        merge: options.merge,
        author: author(),
        ..WriteDocumentQuery::default()
    }
}

async fn put_file(context: &Context, options: DocPut) -> Outcome {
    let content = match options.file.as_os_str() == "-" {
        true => read(&mut std::io::stdin().lock(), Path::new("standard input"))?,
        false => read_file(&options.file)?,
    };
    let client = context.client().await?;
    let basis = basis(&client, &options.scope.scope, &options.path, options.basis).await?;
    let query = query(&options, &options.path);
    match client.put_document(&query, basis, content.into()).await? {
        Put::Written(document) => context.printer.result(&document, || named(&document)),
        Put::Conflict(conflict) => Err(conflict::failure(context.printer, &query, &conflict)),
    }
}

async fn put_folder(context: &Context, options: DocPut) -> Outcome {
    if options.basis.version.is_some() {
        return Err(Failure::new(Kind::Invalid, "--if-version is for one document, not for a folder"));
    }
    let mut files = Vec::new();
    let below = options.path.trim_end_matches('/');
    collect(&options.file, below, &mut files, 0)?;
    if files.is_empty() {
        let line = format!("{} holds no files", options.file.display());
        return Err(Failure::new(Kind::NotFound, line));
    }
    let client = context.client().await?;
    let within =
        DocumentsQuery { view: None, scope: Some(options.scope.scope.clone()), prefix: Some(below.to_owned()) };
    let heads = client.documents(&within).await?.into_iter();
    let heads: HashMap<String, Document> = heads.map(|head| (head.path.clone(), head)).collect();
    let mut written = Vec::with_capacity(files.len());
    for (path, file) in files {
        // Read one at a time: a folder may hold more than the memory should.
        let content = read_file(&file)?;
        let before = heads.get(&path);
        let basis = before.map_or(Basis::Absent, |head| Basis::Version(head.version));
        let query = query(&options, &path);
        let document = match client.put_document(&query, basis, content.into()).await? {
            Put::Written(document) => document,
            Put::Conflict(conflict) => return Err(conflict::failure(context.printer, &query, &conflict)),
        };
        let what = match before {
            None => "new",
            Some(before) if before.version == document.version => "as it was",
            Some(_) => "changed",
        };
        written.push((document, what));
    }
    context.printer.result(&written.iter().map(|(document, _)| document).collect::<Vec<_>>(), || {
        let line = |(document, what): &(Document, &str)| format!("{}  {what}", named(document));
        written.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// Every file of a folder with the path of its document, by path. Links and devices are refused: a document is bytes.
fn collect(folder: &Path, below: &str, files: &mut Vec<(String, PathBuf)>, depth: usize) -> Result<()> {
    let failed = |error| Error::io(format!("the folder {} cannot be read", folder.display()), error);
    let mut entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.path();
        let name = entry.file_name().into_string().map_err(|_| {
            Error::new(Kind::Invalid, format!("the name of {} is not UTF-8, as a document's must be", file.display()))
        })?;
        let path = format!("{below}/{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && depth < DEPTH_MAX {
            collect(&file, &path, files, depth + 1)?;
        } else if kind.is_file() {
            path.parse::<DocumentPath>()?;
            check_size(&file, entry.metadata().map_err(failed)?.len())?;
            files.push((path, file));
        } else {
            let context = format!("{} is neither a file nor a folder: a document holds bytes only", file.display());
            return Err(Error::new(Kind::Invalid, context));
        }
        if files.len() > FILES_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("more than {FILES_MAX} files: put them in parts")));
        }
    }
    Ok(())
}

fn check_size(file: &Path, size: u64) -> Result<()> {
    if size <= DOCUMENT_MAX as u64 {
        return Ok(());
    }
    let context = format!("{} is too large for a document, which holds at most {DOCUMENT_MAX} bytes", file.display());
    Err(Error::new(Kind::TooLarge, context))
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io(format!("{} cannot be read", path.display()), error);
    read(&mut fs::File::open(path).map_err(failed)?, path)
}

/// All bytes, as far as a document may hold them.
fn read(from: &mut dyn Read, name: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let failed = |error| Error::io(format!("{} cannot be read", name.display()), error);
    from.take(DOCUMENT_MAX as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    check_size(name, content.len() as u64)?;
    Ok(content)
}
