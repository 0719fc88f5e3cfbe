//! The reference names what documents and requests may say: each annotation and field that the code reads,
//! and each path and parameter that it serves. It names no others.

use std::collections::BTreeSet;

use super::promised::{literals, rows};
use super::{House, sources};

const ANNOTATIONS: &str = "docs/reference/annotations.md";
const RESOURCES: &str = "docs/reference/resources.md";
const HTTP: &str = "docs/reference/http-api.md";
/// Where the paths of the admin API stand, and the list of them that `GET /` answers.
const ROUTES: &str = "admin/src/admin.rs";
const INDEX: &str = "admin/src/health.rs";
/// What the other listener takes.
const INGRESS: [&str; 3] = [
    "OPTIONS /{namespace}/{broker}",
    "POST /sources/{namespace}/{name}",
    "POST /{namespace}/{broker}",
];
/// What stands before the name of a field where a document is read.
const READERS: [&str; 6] = [
    ".take(",
    ".require(",
    ".text(",
    "secret(",
    "core(",
    "maps(document,",
];
/// The prefix of the project's own annotations.
const OURS: &str = "millrace.dev/";

/// Every annotation is documented, and every one that a page or an example uses exists.
pub(super) fn annotations(house: &House) -> anyhow::Result<Vec<String>> {
    let mut known = BTreeSet::new();
    for (file, text) in house.texts("rs")? {
        if file.starts_with("crds/src") {
            known.extend(listed(sources::before_tests(&text)).map(str::to_owned));
        }
    }
    let mut findings = Vec::new();
    if known.is_empty() {
        findings.push("no list of annotations was found in crds/src".to_owned());
    }
    let page = std::fs::read_to_string(house.root.join(ANNOTATIONS))?;
    let lacking = known
        .iter()
        .filter(|name| !page.contains(&format!("`{OURS}{name}`")));
    findings.extend(lacking.map(|name| format!("{ANNOTATIONS} does not explain `{OURS}{name}`")));
    for extension in ["md", "yaml"] {
        for (file, text) in house.texts(extension)? {
            let strange = used(&text).filter(|name| !known.contains(*name));
            let file = file.display();
            findings.extend(strange.map(|name| format!("{file} names `{OURS}{name}`, which does not exist")));
        }
    }
    Ok(findings)
}

/// The names in the lists called `ANNOTATIONS`.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    let lists = text.split("const ANNOTATIONS").skip(1);
    lists.flat_map(|list| literals(list.split(';').next().unwrap_or_default()))
}

/// The names behind the prefix, where it is neither the end of another group
/// (`sources.millrace.dev/v1alpha1`) nor part of a URL.
fn used(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(OURS).filter_map(|(at, _)| {
        let is_ours = !text[..at].ends_with(['.', '/']);
        let name = &text[at + OURS.len()..];
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        let name = &name[..end.unwrap_or(name.len())];
        (is_ours && !name.is_empty()).then_some(name)
    })
}

/// Every field that a document may have is documented, and every one that the page lists is read.
pub(super) fn fields(house: &House) -> anyhow::Result<Vec<String>> {
    let (mut read, mut words) = (BTreeSet::new(), BTreeSet::new());
    for (file, text) in house.texts("rs")? {
        if file.starts_with("crds/src") {
            let code = sources::before_tests(&text);
            read.extend(read_fields(code));
            words.extend(literals(code).map(str::to_owned));
        }
    }
    let page = std::fs::read_to_string(house.root.join(RESOURCES))?;
    let shows = |name: &String| page.contains(&format!("`{name}`")) || page.contains(&format!(".{name}`"));
    let lacking = read.iter().filter(|name| !shows(name));
    let mut findings: Vec<String> = lacking
        .map(|name| format!("{RESOURCES} does not explain the field `{name}`"))
        .collect();
    let fields = rows(&page).filter(|row| !row.contains('/'));
    let strange = fields.filter(|row| row.split('.').any(|part| !words.contains(part)));
    findings.extend(strange.map(|row| format!("{RESOURCES} explains `{row}`, which is not read")));
    Ok(findings)
}

/// The names of the fields that a source text reads of a document.
fn read_fields(code: &str) -> BTreeSet<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line.trim_start(), " "]).collect();
    let named = READERS.iter().flat_map(|reader| code.split(reader).skip(1));
    let named = named.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let listed = code.split("for name in [").skip(1);
    let listed = listed
        .filter_map(|rest| rest.split(']').next())
        .flat_map(literals);
    named.chain(listed).map(str::to_owned).collect()
}

/// Every path and parameter of the listeners is documented, every documented one exists, and `GET /` lists
/// those of the admin API.
pub(super) fn paths(house: &House) -> anyhow::Result<Vec<String>> {
    let text = |file: &str| std::fs::read_to_string(house.root.join(file));
    let (page, index) = (text(HTTP)?, text(INDEX)?);
    let routes = routes(&text(ROUTES)?);
    let mut findings = Vec::new();
    let listed: BTreeSet<String> = index.lines().filter_map(indexed).collect();
    let but_itself = routes.iter().filter(|route| *route != "GET /").cloned().collect();
    findings.extend(differences(INDEX, &listed, &but_itself));
    let explained = page
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let explained: BTreeSet<String> = explained.map(str::to_owned).collect();
    let served = routes.into_iter().chain(INGRESS.map(str::to_owned)).collect();
    findings.extend(differences(HTTP, &explained, &served));
    let known: BTreeSet<&str> = rows(&page).collect();
    for (file, text) in house.texts("rs")? {
        if file.starts_with("admin/src") {
            let lacking = parameters(&text).filter(|name| !known.contains(name));
            findings.extend(lacking.map(|name| format!("{HTTP} does not explain the parameter `{name}`")));
        }
    }
    Ok(findings)
}

/// What a page says too little and too much.
fn differences(page: &str, says: &BTreeSet<String>, served: &BTreeSet<String>) -> Vec<String> {
    let lacking = served
        .difference(says)
        .map(|path| format!("{page} does not name `{path}`"));
    let strange = says
        .difference(served)
        .map(|path| format!("{page} names `{path}`, which is not served"));
    lacking.chain(strange).collect()
}

/// The methods and paths of a router: `GET /healthz`.
fn routes(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for route in code.split(".route(").skip(1) {
        let route = route.split(".fallback(").next().unwrap_or_default();
        let Some(path) = literals(route).next() else {
            continue;
        };
        for method in ["get", "post", "put", "patch", "delete"] {
            let begins = |before: &str| !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let call = format!("{method}(");
            if route.match_indices(&call).any(|(at, _)| begins(&route[..at])) {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    found
}

/// The method and path that a line of the index begins with.
fn indexed(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    let is_method = method.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_method && path.starts_with('/')).then(|| format!("{method} {path}"))
}

/// The parameters of a query: the fields of structs whose name ends with `Query`.
fn parameters(code: &str) -> impl Iterator<Item = &str> {
    let structs = code.split("struct ").skip(1);
    let queries = structs.filter(|rest| rest.split(' ').next().is_some_and(|name| name.ends_with("Query")));
    queries.flat_map(|rest| {
        let body = rest.split('}').next().unwrap_or_default();
        let lines = body.lines().skip(1).map(str::trim);
        let fields = lines.filter(|line| !line.starts_with(['/', '#']));
        fields.filter_map(|line| Some(line.split_once(':')?.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_found_in_their_list_and_where_they_are_used() {
        let code = "const ANNOTATIONS: &[&str] = &[\"a-b\",\n \"c\"];\nlet x = \"d\";\n";
        assert_eq!(listed(code).collect::<Vec<_>>(), ["a-b", "c"]);
        let page =
            "`millrace.dev/a-b: 24h`, sources.millrace.dev/v1alpha1, `millrace.dev/...`, {millrace.dev/x: 1}";
        assert_eq!(used(page).collect::<Vec<_>>(), ["a-b", "x"]);
    }

    #[test]
    fn fields_are_found_where_documents_are_read() {
        let code = "// .take(\"no\")\nspec.take(\"a\");\nspec\n    .require(\n \"b\", report);\nwaiting.take();\n\
                    for name in [\"c\", \"d\"] {}\nmaps(document, \"e\", report)\n";
        let found: Vec<String> = read_fields(code).into_iter().collect();
        assert_eq!(found, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn paths_are_found_in_the_router_and_in_the_index() {
        let code = ".route(\"/a\", get(x::show).delete(x::forget))\n.route(\n\"/b\", post(widget(y)))\n.fallback(get(z))";
        let found: Vec<String> = routes(code).into_iter().collect();
        assert_eq!(found, ["DELETE /a", "GET /a", "POST /b"]);
        assert_eq!(indexed("GET    /a    what is there").as_deref(), Some("GET /a"));
        assert_eq!(indexed("Requests that /change something"), None);
    }

    #[test]
    fn parameters_are_the_fields_of_a_query() {
        let code = "struct AQuery {\n    /// One.\n    a: u64,\n    #[serde(default)]\n    b: bool,\n}\nstruct B {\n    c: u8,\n}\n";
        assert_eq!(parameters(code).collect::<Vec<_>>(), ["a", "b"]);
    }
}
