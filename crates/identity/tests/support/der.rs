//! DER as a tree that tests can bend.

/// A DER element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Tag and content.
    Primitive(u8, Vec<u8>),
    /// Tag and elements.
    Constructed(u8, Vec<Node>),
}

impl Node {
    pub(crate) fn parse(der: &[u8]) -> Self {
        let mut nodes = parse_all(der);
        assert_eq!(nodes.len(), 1, "one element");
        nodes.remove(0)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (tag, content) = match self {
            Self::Primitive(tag, content) => (*tag, content.clone()),
            Self::Constructed(tag, nodes) => (*tag, nodes.iter().flat_map(Self::encode).collect()),
        };
        let mut der = vec![tag];
        match content.len() {
            short @ 0..=0x7f => der.push(short as u8),
            long @ 0x80..=0xff => der.extend([0x81, long as u8]),
            longer => der.extend([0x82, (longer >> 8) as u8, longer as u8]),
        }
        der.extend(content);
        der
    }

    /// The element that is reached by these positions.
    pub(crate) fn at(&mut self, path: &[usize]) -> &mut Self {
        path.iter()
            .fold(self, |node, index| &mut node.children()[*index])
    }

    pub(crate) fn children(&mut self) -> &mut Vec<Self> {
        match self {
            Self::Constructed(_, nodes) => nodes,
            Self::Primitive(..) => panic!("a primitive element has no children"),
        }
    }

    /// The paths of all elements that hold others.
    pub(crate) fn constructed_paths(&self) -> Vec<Vec<usize>> {
        let Self::Constructed(_, nodes) = self else {
            return Vec::new();
        };
        let mut paths = vec![Vec::new()];
        for (index, node) in nodes.iter().enumerate() {
            for path in node.constructed_paths() {
                paths.push([&[index][..], &path].concat());
            }
        }
        paths
    }
}

fn parse_all(mut der: &[u8]) -> Vec<Node> {
    let mut nodes = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let octets = if *first < 0x80 {
            0
        } else {
            usize::from(first & 0x7f)
        };
        let (len, rest) = rest.split_at(octets);
        let len = match octets {
            0 => usize::from(*first),
            _ => len
                .iter()
                .fold(0, |len, octet| len << 8 | usize::from(*octet)),
        };
        let (content, rest) = rest.split_at(len);
        nodes.push(match tag & 0x20 {
            0 => Node::Primitive(*tag, content.to_vec()),
            _ => Node::Constructed(*tag, parse_all(content)),
        });
        der = rest;
    }
    assert!(der.is_empty(), "whole elements");
    nodes
}
