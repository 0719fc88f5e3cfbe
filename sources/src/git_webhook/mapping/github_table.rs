//! The events of GitHub that the CloudEvents adapter's document knows (cloudevents/spec
//! `adapters/github.md`), one a row.
//!
//! Where the document is of two minds it is read so: the type of `status` ends with its state, rows that lack
//! the dot before the action have it, and `ping`, which it does not know, has the hook as its subject.

/// What an event's attributes are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) event: &'static str,
    pub(super) suffix: Suffix,
    pub(super) source: Source,
    /// Paths of which the first that is there is the subject.
    pub(super) subject: &'static [&'static str],
    /// Paths of which the first that is there is the time.
    pub(super) time: &'static [&'static str],
}

/// What follows the event in its type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Suffix {
    /// Nothing.
    None,
    /// `action`.
    Action,
    /// What stands at these paths.
    Of(&'static [&'static str]),
}

/// What the source is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// What stands at this path.
    At(&'static str),
    /// Always this.
    Text(&'static str),
    /// The URL of a comment and its commit.
    Commit,
    /// The URL of the sender without its name.
    Users,
}

use Source::At;
use Suffix::{Action, None, Of};

const REPOSITORY: Source = At("repository.url");
const OWNER: Source = At("repository.owner.url");
const ACCOUNT: Source = At("installation.account.url");
const ORGANIZATION: Source = At("organization.url");
const DEPLOYMENT: Source = At("deployment.url");
const PULL_REQUEST: Source = At("pull_request.url");

const fn row(
    event: &'static str,
    suffix: Suffix,
    source: Source,
    subject: &'static [&'static str],
    time: &'static [&'static str],
) -> Row {
    Row {
        event,
        suffix,
        source,
        subject,
        time,
    }
}

/// The rows, in the order of the document.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    row("branch_protection_configuration", Action, REPOSITORY, &[], &[]),
    row("branch_protection_rule", Action, REPOSITORY, &["rule.id"], &["rule.updated_at"]),
    row("check_run", Action, REPOSITORY, &["check_run.id"], &["check_run.completed_at", "check_run.started_at"]),
    row("check_suite", Action, REPOSITORY, &["check_suite.id"], &["check_suite.updated_at"]),
    row("code_scanning_alert", Action, REPOSITORY, &["alert.number"], &[]),
    row("commit_comment", Action, Source::Commit, &["comment.id"], &["comment.updated_at"]),
    row("content_reference", Action, REPOSITORY, &["content_reference.id"], &[]),
    row("create", Of(&["ref_type"]), REPOSITORY, &["ref"], &[]),
    row("custom_property", Action, REPOSITORY, &["definition.property_name"], &[]),
    row("custom_property_values", Action, REPOSITORY, &[], &[]),
    row("delete", Of(&["ref_type"]), REPOSITORY, &["ref"], &[]),
    row("dependabot_alert", Action, REPOSITORY, &["alert.id", "alert.number"], &[]),
    row("deploy_key", Action, REPOSITORY, &["key.id"], &["key.deleted_at", "key.created_at"]),
    row("deployment", None, REPOSITORY, &["deployment.id"], &["deployment.updated_at"]),
    row("deployment_protection_rule", Action, DEPLOYMENT, &["deployment.id"], &[]),
    row("deployment_review", Action, DEPLOYMENT, &["workflow_run.id"], &[]),
    row("deployment_status", Of(&["deployment_status.state"]), DEPLOYMENT, &["deployment_status.url"],
        &["deployment_status.updated_at"]),
    row("discussion", Action, REPOSITORY, &["discussion.id"], &[]),
    row("discussion_comment", Action, REPOSITORY, &["discussion.id"], &["comment.updated_at"]),
    row("fork", None, REPOSITORY, &["forkee.url"], &["forkee.created_at"]),
    row("github_app_authorization", None, At("sender.url"), &[], &[]),
    row("gollum", None, REPOSITORY, &[], &[]),
    row("installation", Action, ACCOUNT, &["installation.id"], &["installation.updated_at"]),
    row("installation_repositories", Action, ACCOUNT, &["installation.id"], &["installation.updated_at"]),
    row("installation_target", Action, ACCOUNT, &["installation.id"], &[]),
    row("issue_comment", Action, At("issue.url"), &["comment.id"], &["comment.updated_at"]),
    row("issues", Action, REPOSITORY, &["issue.number"], &["issue.updated_at"]),
    row("label", Action, REPOSITORY, &["label.name"], &[]),
    row("marketplace_purchase", Action, Source::Users, &["marketplace_purchase.account.login"], &["effective_date"]),
    row("member", Action, REPOSITORY, &["member.login"], &[]),
    row("membership", Of(&["scope", "action"]), At("team.url"), &["member.login"], &[]),
    row("merge_group", Action, REPOSITORY, &["merge_group.head_ref"], &[]),
    row("meta", Action, REPOSITORY, &["hook_id"], &["hook.updated_at"]),
    row("milestone", Action, REPOSITORY, &["milestone.number"], &["milestone.updated_at"]),
    row("organization", Action, ORGANIZATION, &["membership.user.login"], &[]),
    row("org_block", Action, ORGANIZATION, &["blocked_user.login"], &[]),
    row("package", Action, REPOSITORY, &["package.id"], &["package.updated_at", "package.created_at"]),
    row("page_build", None, REPOSITORY, &["build.url"], &["pusher.updated_at"]),
    row("ping", None, REPOSITORY, &["hook_id"], &[]),
    row("project_card", Action, REPOSITORY, &["project_card.id"], &["project_card.updated_at"]),
    row("project_column", Action, REPOSITORY, &["project_column.id"], &["project_column.updated_at"]),
    row("project", Action, REPOSITORY, &["project.id"], &["project.updated_at"]),
    row("projects_v2", Action, REPOSITORY, &["projects_v2.id"], &["projects_v2.updated_at"]),
    row("projects_v2_item", Action, REPOSITORY, &["projects_v2_item.id"], &["projects_v2_item.updated_at"]),
    row("projects_v2_status_update", Action, REPOSITORY, &["projects_v2_status_update.id"],
        &["projects_v2_status_update.updated_at"]),
    row("public", None, OWNER, &["repository.name"], &["repository.updated_at"]),
    row("pull_request", Action, REPOSITORY, &["number"], &["pull_request.updated_at"]),
    row("pull_request_review", Action, PULL_REQUEST, &["review.id"], &["review.submitted_at"]),
    row("pull_request_review_comment", Action, PULL_REQUEST, &["comment.id"], &["pull_request.updated_at"]),
    row("pull_request_review_thread", Action, PULL_REQUEST, &["pull_request.id"], &[]),
    row("push", None, REPOSITORY, &["ref"], &[]),
    row("registry_package", Action, REPOSITORY, &["registry_package.html_url"], &["registry_package.updated_at"]),
    row("release", Action, REPOSITORY, &["release.id"], &["release.published_at", "release.created_at"]),
    row("repository", Action, OWNER, &["repository.name"], &["repository.updated_at"]),
    row("repository_advisory", Action, REPOSITORY, &["repository_advisory.ghsa_id"], &["repository_advisory.updated_at"]),
    row("repository_dispatch", Action, OWNER, &[], &[]),
    row("repository_import", None, OWNER, &["repository.name"], &["repository.updated_at"]),
    row("repository_ruleset", Action, OWNER, &["repository.name"], &["repository.updated_at"]),
    row("repository_vulnerability_alert", Action, REPOSITORY, &["alert.id"], &[]),
    row("secret_scanning_alert", Action, REPOSITORY, &["alert.number"], &["alert.updated_at", "alert.created_at"]),
    row("secret_scanning_alert_location", Action, REPOSITORY, &["alert.number"], &["alert.updated_at", "alert.created_at"]),
    row("security_advisory", Action, Source::Text("github.com"), &["security_advisory.ghsa_id"],
        &["security_advisory.updated_at"]),
    row("security_and_analysis", None, REPOSITORY, &[], &[]),
    row("sponsorship", Action, REPOSITORY, &["sponsorship.sponsor.login"], &[]),
    row("star", Action, REPOSITORY, &[], &["starred_at"]),
    row("status", Of(&["state"]), REPOSITORY, &["sha"], &["updated_at"]),
    row("team", Action, REPOSITORY, &["team.id"], &["updated_at"]),
    row("team_add", Action, REPOSITORY, &["team.id"], &[]),
    row("watch", Action, REPOSITORY, &[], &[]),
    row("workflow_dispatch", None, REPOSITORY, &["workflow"], &[]),
    row("workflow_job", Action, REPOSITORY, &["workflow_job.name"], &[]),
    row("workflow_run", Action, REPOSITORY, &["workflow.name"], &[]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_event_has_one_row() {
        let events: BTreeSet<_> = TABLE.iter().map(|row| row.event).collect();
        assert_eq!(events.len(), TABLE.len());
    }
}
