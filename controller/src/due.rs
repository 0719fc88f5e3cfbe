//! Which statuses are to be written: of what is served, what is true of it; of what is another's, none.
//!
//! # Contract
//! An object whose Broker is of another class is not ours. Where we have written its status, that is given
//! up, once nothing of the object is in effect: who serves it now says how it stands, and until then its
//! definition says that nobody does. An EventPolicy is everybody's: where Knative Eventing writes its status
//! too, that is left to it, so that the two do not write in turns for ever.

use millrace_crds::{Draft, Kind};
use millrace_model::Mesh;

use crate::build::is_served;
use crate::objects::Entry;
use crate::status::{Scene, Status};
use crate::write::Write;

/// The statuses of all objects that are ours, or were. Everything is known of Brokers and Triggers.
pub(crate) fn writes(drafts: &[Draft], in_effect: &Mesh, scene: &Scene<'_>) -> Vec<Write> {
    let served = drafts.iter().filter_map(|draft| {
        let entry = scene.objects.get(draft.key.kind, &draft.key.name)?;
        // An object that has changed since waits for its own draft.
        let is_about_it =
            draft.uid.as_ref() == Some(&entry.uid) && draft.generation == Some(entry.generation);
        let is_known = is_about_it && !scene.is_early(draft, entry) && !is_of_another(entry);
        is_known.then(|| write(entry, Some(Status::of(draft, entry, scene))))
    });
    let is_gone = |entry: &Entry| !is_served(entry, scene.objects, scene.options) && !is_in(in_effect, entry);
    let is_left = |entry: &&Entry| entry.is_written && (is_gone(entry) || is_of_another(entry));
    let left = scene.objects.all().filter(is_left);
    let all = served.chain(left.map(|entry| write(entry, None)));
    // One that is known from the disk only cannot be written.
    all.filter(|write| !write.version.is_empty()).collect()
}

fn write(entry: &Entry, status: Option<Status>) -> Write {
    Write {
        key: entry.key.clone(),
        uid: entry.uid.clone(),
        version: entry.version.clone(),
        before: entry.status.clone(),
        status,
    }
}

/// Whether it is for another controller to say how an object stands that we serve.
fn is_of_another(entry: &Entry) -> bool {
    entry.key.kind == Kind::EventPolicy && entry.is_shared
}

/// Whether a mesh has this Broker or Trigger.
fn is_in(mesh: &Mesh, entry: &Entry) -> bool {
    let name = &entry.key.name;
    let uid = match entry.key.kind {
        Kind::Broker => mesh.brokers.get(name).and_then(|broker| broker.uid.as_ref()),
        Kind::Trigger => mesh.triggers.get(name).and_then(|trigger| trigger.uid.as_ref()),
        _ => None,
    };
    uid == Some(&entry.uid)
}
