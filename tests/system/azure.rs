//! Azure's blob storage, as Azurite does it: the whole way, and conditional writes raced.

use crate::s3::{race_on, whole_way};
use crate::world::World;
use crate::world::servers::{Server, azurite, fresh_container};

/// What programs need to find Azurite; its account and key are built into every client.
fn environment(server: &Server) -> Vec<(&'static str, String)> {
    vec![("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()), ("AZURITE_BLOB_STORAGE_URL", server.url())]
}

#[test]
fn the_whole_way_on_azurite() {
    let (Some(mut world), Some(server)) = (World::with_mounts(), azurite()) else { return };
    for (name, value) in environment(&server) {
        world.set(name, &value);
    }
    whole_way(world, &format!("az://{}/some/prefix", fresh_container(&server)));
}

#[test]
fn one_of_sixteen_creates_a_name_on_azurite() {
    let Some(server) = azurite() else { return };
    race_on(&format!("az://{}/race", fresh_container(&server)), environment(&server));
}
