//! The token that opens an engine's TCP address: made once, in a file that only its user can read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use vfs_core::{Error, Kind, Result};

use crate::folder::DataFolder;

/// Random bytes of a token: more than anybody can try.
const TOKEN_BYTES: usize = 32;

/// The data folder's token; made if there is none. A file that others can read is refused.
pub(super) fn load(data: &DataFolder) -> Result<String> {
    let path = data.token();
    let failed = |error| Error::io(format!("cannot use the token file {}", path.display()), error);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match made {
        Ok(mut file) => {
            let token = random()?;
            file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            return Ok(token);
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let mode = fs::metadata(&path).map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        let line = format!("others can read the token file: remove {} for a new one (or chmod 600)", path.display());
        return Err(Error::new(Kind::Denied, line));
    }
    let token = fs::read_to_string(&path).map_err(failed)?.trim().to_owned();
    if token.is_empty() {
        let line = format!("the token file {} is empty: remove it, the next start makes a new one", path.display());
        return Err(Error::new(Kind::Invalid, line));
    }
    Ok(token)
}

fn random() -> Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Kind::Internal, "no random numbers for a token").because(error.to_string()))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_kept_private() {
        let temporary = tempfile::tempdir().unwrap();
        let data = DataFolder::find(Some(temporary.path())).unwrap();
        let token = load(&data).unwrap();
        assert_eq!(token.len(), TOKEN_BYTES * 2);
        assert_eq!(fs::metadata(data.token()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load(&data).unwrap(), token);
        fs::set_permissions(data.token(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load(&data).unwrap_err().kind(), Kind::Denied);
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let temporary = tempfile::tempdir().unwrap();
        let data = DataFolder::find(Some(temporary.path())).unwrap();
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(data.token()).unwrap();
        assert_eq!(load(&data).unwrap_err().kind(), Kind::Invalid);
    }
}
