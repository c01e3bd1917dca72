//! What the engine can ask of this mount, over the connection that the mount keeps open.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use vfs_core::base::PublishNote;
use vfs_core::id::SnapshotId;
use vfs_core::object::Snapshot;
use vfs_core::workspace::Status;
use vfs_core::{Kind, Result};
