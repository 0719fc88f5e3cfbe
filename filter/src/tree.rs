//! A checked filter as a tree: joined where joining changes nothing, put in the order in which it is
//! cheapest, laid flat.

use crate::compiled::{Node, What};

/// A checked filter before it is laid flat.
pub(crate) struct Tree {
    pub(crate) what: What,
    path: String,
    children: Vec<Tree>,
}

/// What an expression costs beyond its parts, in the steps of [`crate::clause::Test::cost`].
const CESQL: u32 = 5;
/// What a path costs: it is asked last, as the data may have to be parsed for it.
const PATH: u32 = 10_000;

/// The tree in preorder: the nodes that run, and where each stands for people.
pub(crate) fn flatten(tree: Tree) -> (Vec<Node>, Vec<Box<str>>) {
    let (mut nodes, mut paths) = (Vec::new(), Vec::new());
    lay(tree, &mut nodes, &mut paths);
    (nodes, paths)
}

fn lay(tree: Tree, nodes: &mut Vec<Node>, paths: &mut Vec<Box<str>>) {
    let at = nodes.len();
    nodes.push(Node {
        what: tree.what,
        end: 0,
    });
    paths.push(tree.path.into());
    for child in tree.children {
        lay(child, nodes, paths);
    }
    nodes[at].end = nodes.len();
}

// === impl Tree ===

impl Tree {
    pub(crate) fn leaf(what: What, path: String) -> Self {
        Self {
            what,
            path,
            children: Vec::new(),
        }
    }

    /// `all` or `any` of the children: alike ones are drawn up, a single one stands for the whole, cheapest
    /// first.
    pub(crate) fn join(what: What, path: String, children: Vec<Tree>) -> Self {
        let mut flat: Vec<Tree> = Vec::with_capacity(children.len());
        for child in children {
            if child.what.joins_as(&what) {
                flat.extend(child.children);
            } else {
                flat.push(child);
            }
        }
        if flat.len() == 1 {
            return flat.remove(0);
        }
        flat.sort_by_cached_key(Tree::cost);
        Self {
            what,
            path,
            children: flat,
        }
    }

    /// The contrary; the contrary of the contrary is the thing itself.
    pub(crate) fn negate(mut inner: Tree, path: String) -> Self {
        match inner.what {
            What::Not => inner.children.remove(0),
            What::Test(_) | What::Cesql(_) | What::Path(_) | What::All | What::Any => Self {
                what: What::Not,
                path,
                children: vec![inner],
            },
        }
    }

    fn cost(&self) -> u32 {
        match &self.what {
            What::Test(test) => test.cost(),
            What::Cesql(expression) => CESQL + expression.root().cost(),
            What::Path(_) => PATH,
            What::All | What::Any | What::Not => 2 + self.children.iter().map(Tree::cost).sum::<u32>(),
        }
    }

    /// Puts the name of the field before every path, for explanations.
    pub(crate) fn with_root(mut self, root: &str) -> Self {
        self.path.insert_str(0, root);
        self.children = self
            .children
            .into_iter()
            .map(|child| child.with_root(root))
            .collect();
        self
    }
}
