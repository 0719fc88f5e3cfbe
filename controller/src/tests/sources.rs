//! Promise: the status of a source says whether it may read what it needs, and how it runs.

use super::*;

#[test]
fn a_secret_that_may_not_be_read_is_named_with_the_command_that_permits_it() {
    let source = json!({
        "forge": "github",
        "secrets": [{"secretKeyRef": {"name": "hook", "key": "token"}}],
        "sink": {"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}},
    });
    let source = object(
        "sources.millrace.dev/v1alpha1",
        "GitWebhookSource",
        "shop/git",
        source,
    );
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    let kind = Kind::Source(SourceKind::GitWebhook);
    world.objects.see(kind, None, News::Listed(vec![source]));
    let document = world.objects.get(kind, &named("shop/git")).expect("it is there");
    assert!(
        document.valid.is_some(),
        "{:?}",
        document.current.document.problems
    );
    world.apply();
    assert!(
        world
            .ready(kind, "shop/git")
            .starts_with("Ready=Unknown NotResolvedYet")
    );
    world
        .secrets
        .insert(named("shop/hook"), Standing::Failed(Trouble::Forbidden));
    let ready = world.ready(kind, "shop/git");
    for part in [
        "Ready=False SecretForbidden",
        "kubectl -n shop create role",
        "--resource-name=hook",
        "--serviceaccount=mill:millrace",
    ] {
        assert!(ready.contains(part), "{ready}");
    }
    world.secrets.insert(named("shop/hook"), Standing::Complete);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "shop"},
        "data": {"token": "aHVzaA=="},
    });
    world.readable.push(Document::of_object(&secret));
    let ready = world.ready(kind, "shop/git");
    assert!(ready.starts_with("Ready=Unknown Starting"), "{ready}");
    world.run(SourceKind::GitWebhook, "shop/git", SourceState::Ready, "");
    assert_eq!(world.ready(kind, "shop/git"), "Ready=True Ready");
}

#[test]
fn an_api_server_source_is_in_the_mesh_only_when_its_own_account_may_read() {
    let source = json!({
        "serviceAccountName": "reader",
        "resources": [{"apiVersion": "v1", "kind": "Pod"}],
        "sink": {"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}},
    });
    let source = object(
        "sources.millrace.dev/v1alpha1",
        "ApiServerSource",
        "shop/pods",
        source,
    );
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    let kind = Kind::Source(SourceKind::ApiServer);
    world.objects.see(kind, None, News::Listed(vec![source]));
    world.apply();
    let entry = world.objects.get(kind, &named("shop/pods")).expect("it is there");
    let question = Question::of(entry, &world.options).expect("it is asked");
    for (verdict, expected) in [
        (None, "Ready=Unknown NotReviewed"),
        (
            Some(Err("no".to_owned())),
            "Ready=False InsufficientPermissions no",
        ),
        (Some(Ok(())), "Ready=True Ready"),
    ] {
        let is_permitted = verdict == Some(Ok(()));
        world
            .reviews
            .extend(verdict.map(|verdict| (question.clone(), verdict)));
        if is_permitted {
            world.run(SourceKind::ApiServer, "shop/pods", SourceState::Ready, "");
        }
        let ready = world.ready(kind, "shop/pods");
        assert!(ready.starts_with(expected), "{ready}");
        assert_eq!(world.build().mesh.sources.len(), usize::from(is_permitted));
    }
}

#[test]
fn a_source_that_does_not_run_says_why() {
    let source = json!({
        "schedule": "0 0 1 1 *",
        "sink": {"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}},
    });
    let source = object("sources.millrace.dev/v1alpha1", "CronSource", "shop/tick", source);
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    let kind = Kind::Source(SourceKind::Cron);
    world.objects.see(kind, None, News::Listed(vec![source]));
    world.apply();
    world.run(
        SourceKind::Cron,
        "shop/tick",
        SourceState::NotReady,
        "no zone of that name",
    );
    assert_eq!(
        world.ready(kind, "shop/tick"),
        "Ready=False NotRunning no zone of that name"
    );
}
