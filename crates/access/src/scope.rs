use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The devices that an authority reaches: those whose trust domain, site and type are all among the selected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Of these trust domains.
    #[serde(default)]
    pub trust_domains: Selection,
    /// Of these sites. A device that may be at any site is only reached by every site.
    #[serde(default)]
    pub sites: Selection,
    /// Of these types.
    #[serde(default)]
    pub device_types: Selection,
}

impl Scope {
    /// Every device.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether a device is in it.
    pub fn contains(&self, target: &Target<'_>) -> bool {
        self.trust_domains.contains(target.trust_domain)
            && match target.site {
                Some(site) => self.sites.contains(site),
                None => self.sites == Selection::Any,
            }
            && self.device_types.contains(target.device_type)
    }

    /// Whether every device of `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.trust_domains.covers(&other.trust_domains)
            && self.sites.covers(&other.sites)
            && self.device_types.covers(&other.device_types)
    }
}

/// What a scope looks at in a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its trust domain.
    pub trust_domain: &'a str,
    /// Its site; `None` if it may be at any.
    pub site: Option<&'a str>,
    /// Its type.
    pub device_type: &'a str,
}

/// All names, or some. In JSON `"*"` or a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// Every name.
    #[default]
    Any,
    /// These and no others.
    Only(BTreeSet<String>),
}

impl Selection {
    /// Whether the name is selected.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.contains(name),
        }
    }

    /// Whether every name of `other` is selected.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Only(_), Self::Any) => false,
            (Self::Only(names), Self::Only(others)) => others.is_subset(names),
        }
    }
}

impl<S: Into<String>> FromIterator<S> for Selection {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self::Only(names.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Only(names) => f.write_str(
                &names
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
        }
    }
}

impl Serialize for Selection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("*"),
            Self::Only(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Star(String),
            Names(BTreeSet<String>),
        }
        let expected =
            || serde::de::Error::custom("write \"*\" for every name, or a list of names");
        match Form::deserialize(deserializer).map_err(|_| expected())? {
            Form::Star(star) if star == "*" => Ok(Self::Any),
            Form::Names(names) if names.iter().all(|name| name != "*") => Ok(Self::Only(names)),
            Form::Star(_) | Form::Names(_) => Err(expected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selection() -> impl Strategy<Value = Selection> {
        let names = proptest::collection::btree_set("[abc]", 0..4);
        prop_oneof![Just(Selection::Any), names.prop_map(Selection::Only)]
    }

    fn scope() -> impl Strategy<Value = Scope> {
        (selection(), selection(), selection()).prop_map(|(trust_domains, sites, device_types)| {
            Scope {
                trust_domains,
                sites,
                device_types,
            }
        })
    }

    proptest! {
        #[test]
        fn what_a_covered_scope_reaches_the_covering_one_reaches(
            wide in scope(),
            narrow in scope(),
            domain in "[abcd]",
            site in proptest::option::of("[abcd]"),
            device_type in "[abcd]",
        ) {
            let target = Target { trust_domain: &domain, site: site.as_deref(), device_type: &device_type };
            prop_assert!(!wide.covers(&narrow) || !narrow.contains(&target) || wide.contains(&target));
            prop_assert!(wide.covers(&wide));
        }
    }

    #[test]
    fn a_device_of_no_site_is_reached_by_every_site_only() {
        let target = Target {
            trust_domain: "factory",
            site: None,
            device_type: "pump",
        };
        let north = Scope {
            sites: ["north"].into_iter().collect(),
            ..Scope::everything()
        };
        assert!(Scope::everything().contains(&target) && !north.contains(&target));
    }

    #[test]
    fn json_is_a_star_or_a_list() {
        let scope: Scope =
            serde_json::from_str(r#"{"sites": ["north"], "trust_domains": "*"}"#).unwrap();
        assert_eq!(scope.sites, ["north"].into_iter().collect());
        assert_eq!(scope.device_types, Selection::Any);
        let text = serde_json::to_string(&scope).unwrap();
        assert_eq!(
            text,
            r#"{"trust_domains":"*","sites":["north"],"device_types":"*"}"#
        );
        for wrong in [
            r#"{"sites": "north"}"#,
            r#"{"sites": ["*"]}"#,
            r#"{"site": "*"}"#,
            r#"{"sites": null}"#,
        ] {
            assert!(serde_json::from_str::<Scope>(wrong).is_err(), "{wrong}");
        }
    }
}
