//! Whether any device is left for a policy after those before it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Selector};

/// Steps of the search after which a selector counts as reachable: the finding is a courtesy,
/// and files with that many overlapping selectors are no one's.
const MAX_STEPS: usize = 100_000;

/// Whether a device can match a selector and none of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachability {
    Reachable,
    /// No device is left; the selector at this index already takes all, if a single one does.
    Unreachable {
        taken_by: Option<usize>,
    },
}

pub(crate) fn reachability(earlier: &[&Selector], selector: &Selector) -> Reachability {
    let mut steps = 0;
    if Candidates::of(selector).escapes(earlier, &mut steps) {
        return Reachability::Reachable;
    }
    let taken_by =
        (0..earlier.len()).find(|n| !Candidates::of(selector).escapes(&earlier[*n..=*n], &mut 0));
    Reachability::Unreachable { taken_by }
}

/// The devices that are still possible: for each thing that is selected by, its values. The
/// device type, which is always there, goes under `None`.
#[derive(Clone)]
struct Candidates<'s>(BTreeMap<Option<&'s str>, Values<'s>>);

#[derive(Clone)]
struct Values<'s> {
    absent: bool,
    present: Present<'s>,
}

#[derive(Clone)]
enum Present<'s> {
    In(BTreeSet<&'s str>),
    NotIn(BTreeSet<&'s str>),
}

impl<'s> Candidates<'s> {
    fn of(selector: &'s Selector) -> Self {
        let values = |condition: &'s Condition| Values {
            absent: false,
            present: match condition {
                Condition::Any => Present::NotIn(BTreeSet::new()),
                Condition::OneOf(values) => Present::In(values.iter().map(|v| &**v).collect()),
            },
        };
        Self(
            conditions(selector)
                .map(|(key, condition)| (key, values(condition)))
                .collect(),
        )
    }

    /// Whether some candidate matches none of `others`: for each of them, one of its conditions
    /// must be broken.
    fn escapes(&self, others: &[&'s Selector], steps: &mut usize) -> bool {
        *steps += 1;
        let Some((first, rest)) = others.split_first() else {
            return true;
        };
        if *steps > MAX_STEPS {
            return true;
        }
        conditions(first).any(|(key, condition)| {
            self.breaking(key, condition)
                .is_some_and(|left| left.escapes(rest, steps))
        })
    }

    /// The candidates that do not keep `condition`, if there are any.
    fn breaking(&self, key: Option<&'s str>, condition: &'s Condition) -> Option<Self> {
        let mut values = self.0.get(&key).cloned().unwrap_or(Values {
            absent: key.is_some(),
            present: Present::NotIn(BTreeSet::new()),
        });
        match condition {
            Condition::Any => values.present = Present::In(BTreeSet::new()),
            Condition::OneOf(taken) => match &mut values.present {
                Present::In(left) => left.retain(|v| taken.iter().all(|t| **t != **v)),
                Present::NotIn(gone) => gone.extend(taken.iter().map(|v| &**v)),
            },
        }
        let none_present = matches!(&values.present, Present::In(left) if left.is_empty());
        if none_present && !values.absent {
            return None;
        }
        let mut left = self.clone();
        left.0.insert(key, values);
        Some(left)
    }
}

fn conditions(selector: &Selector) -> impl Iterator<Item = (Option<&str>, &Condition)> {
    let attributes = selector
        .attributes
        .iter()
        .map(|(name, condition)| (Some(name.as_str()), condition));
    std::iter::once((None, &selector.device_type)).chain(attributes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn condition(values: &str) -> Condition {
        match values {
            "*" => Condition::Any,
            _ => Condition::OneOf(values.split(',').map(Into::into).collect()),
        }
    }

    fn selector(device_type: &str, attributes: &[(&str, &str)]) -> Selector {
        Selector {
            device_type: condition(device_type),
            attributes: attributes
                .iter()
                .map(|(name, values)| ((*name).to_owned(), condition(values)))
                .collect(),
        }
    }

    fn check(earlier: &[Selector], last: &Selector) -> Reachability {
        reachability(&earlier.iter().collect::<Vec<_>>(), last)
    }

    #[test]
    fn a_catch_all_hides_what_follows() {
        let taken_by = Some(0);
        let all = selector("*", &[]);
        for hidden in [selector("*", &[]), selector("pump", &[("zone", "*")])] {
            assert_eq!(
                check(std::slice::from_ref(&all), &hidden),
                Reachability::Unreachable { taken_by }
            );
        }
    }

    #[test]
    fn several_selectors_hide_together() {
        let earlier = [selector("a", &[]), selector("b,c", &[])];
        assert_eq!(
            check(&earlier, &selector("a,b", &[])),
            Reachability::Unreachable { taken_by: None }
        );
        assert_eq!(
            check(&earlier, &selector("a,d", &[])),
            Reachability::Reachable
        );
        assert_eq!(
            check(&earlier, &selector("*", &[])),
            Reachability::Reachable
        );
    }

    #[test]
    fn a_missing_attribute_leaves_devices() {
        let earlier = [selector("*", &[("zone", "*")])];
        assert_eq!(
            check(&earlier, &selector("*", &[])),
            Reachability::Reachable
        );
        assert_eq!(
            check(&earlier, &selector("pump", &[("zone", "north")])),
            Reachability::Unreachable { taken_by: Some(0) }
        );
        let both = [
            selector("*", &[("zone", "north")]),
            selector("*", &[("zone", "south"), ("floor", "*")]),
        ];
        assert_eq!(
            check(&both, &selector("*", &[("zone", "north,south")])),
            Reachability::Reachable
        );
    }

    fn any_selector() -> impl Strategy<Value = Selector> {
        let values = prop::sample::select(vec!["*", "a", "b", "a,b"]);
        let attributes = prop::collection::btree_map(
            prop::sample::select(vec!["x", "y"]),
            values.clone(),
            0..=2,
        );
        (values, attributes).prop_map(|(device_type, attributes)| {
            selector(device_type, &attributes.into_iter().collect::<Vec<_>>())
        })
    }

    proptest! {
        #[test]
        fn reachability_agrees_with_trying_every_device(
            earlier in prop::collection::vec(any_selector(), 0..4),
            last in any_selector(),
        ) {
            let values = ["a", "b", "c"];
            let attribute = |v: Option<&'static str>| v.map(str::to_owned);
            let optional = [None, Some("a"), Some("b"), Some("c")];
            let found = values.iter().any(|device_type| {
                optional.iter().any(|x| optional.iter().any(|y| {
                    let attributes: BTreeMap<String, String> =
                        [("x", attribute(*x)), ("y", attribute(*y))]
                            .into_iter()
                            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                            .collect();
                    last.matches(device_type, &attributes)
                        && !earlier.iter().any(|s| s.matches(device_type, &attributes))
                }))
            });
            prop_assert_eq!(check(&earlier, &last) == Reachability::Reachable, found);
        }
    }
}
