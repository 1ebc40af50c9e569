//! Which subjects two templates have in common, for every choice of values at once.
//!
//! Two templates overlap if some concrete subject and some values of their variables make both
//! match. Tokens are compared place by place: `*` and `>` take anything, everything else must be
//! equal, which is recorded. What must be equal falls into classes; a choice of values exists
//! exactly if no class holds two literals, a literal that no variable can be, or the ids of both
//! devices. All other values are an adversary's, and may equal any token.

use leafgate_identity::is_token;

use crate::template::{Token, Variable};

/// Whose values a template's variables take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    One,
    /// The same device in another session: a replica that serves stale may grant by a record that
    /// has changed since, so that all but the id may differ.
    OneElsewhere,
    Another,
}

/// A token with a definite, if unknown, value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term<'t> {
    Literal(&'t str),
    Variable(Owner, &'t Variable),
}

impl<'t> Term<'t> {
    fn of(token: &'t Token, owner: Owner) -> Option<Self> {
        match token {
            Token::Literal(text) => Some(Self::Literal(text)),
            Token::Variable(variable) => Some(match (owner, variable) {
                (Owner::OneElsewhere, Variable::Id) => Self::Variable(Owner::One, variable),
                _ => Self::Variable(owner, variable),
            }),
            Token::Any | Token::Tail => None,
        }
    }
}

/// Terms that must be equal.
#[derive(Debug, Default)]
struct Equalities<'t>(Vec<Vec<Term<'t>>>);

impl<'t> Equalities<'t> {
    /// Makes two terms equal; false if no choice of values does.
    fn equate(&mut self, a: Term<'t>, b: Term<'t>) -> bool {
        let mut merged = self.take_class(a);
        if !merged.contains(&b) {
            merged.extend(self.take_class(b));
        }
        let possible = is_possible(&merged);
        self.0.push(merged);
        possible
    }

    fn take_class(&mut self, term: Term<'t>) -> Vec<Term<'t>> {
        let found = self.0.iter().position(|class| class.contains(&term));
        found.map_or_else(|| vec![term], |n| self.0.swap_remove(n))
    }

    fn are_equal(&self, a: Term<'t>, b: Term<'t>) -> bool {
        a == b || self.0.iter().any(|c| c.contains(&a) && c.contains(&b))
    }

    fn literal_of(&self, term: Term<'t>) -> Option<&'t str> {
        let class = self.0.iter().find(|class| class.contains(&term));
        let terms = class.map_or(std::slice::from_ref(&term), Vec::as_slice);
        terms.iter().find_map(|t| match t {
            Term::Literal(text) => Some(*text),
            Term::Variable(..) => None,
        })
    }
}

fn is_possible(class: &[Term<'_>]) -> bool {
    let mut literals = class.iter().filter_map(|term| match term {
        Term::Literal(text) => Some(*text),
        Term::Variable(..) => None,
    });
    let first = literals.next();
    let has_variable = class.iter().any(|t| matches!(t, Term::Variable(..)));
    let id = |owner| class.contains(&Term::Variable(owner, &Variable::Id));
    literals.all(|other| Some(other) == first)
        && first.is_none_or(|text| !has_variable || is_token(text))
        && !(id(Owner::One) && id(Owner::Another))
}

#[derive(Clone, Copy, Debug)]
enum Place<'t> {
    Term(Term<'t>),
    Any,
    Tail,
}

impl<'t> Place<'t> {
    fn of(token: &'t Token, owner: Owner) -> Self {
        match (Term::of(token, owner), token) {
            (Some(term), _) => Self::Term(term),
            (None, Token::Tail) => Self::Tail,
            (None, _) => Self::Any,
        }
    }
}

/// What two templates have in common; never empty.
#[derive(Debug)]
pub(super) struct Overlap<'t> {
    places: Vec<Place<'t>>,
    equalities: Equalities<'t>,
}

impl<'t> Overlap<'t> {
    pub(super) fn find(
        (left, left_owner): (&'t [Token], Owner),
        (right, right_owner): (&'t [Token], Owner),
    ) -> Option<Self> {
        let mut overlap = Self {
            places: Vec::new(),
            equalities: Equalities::default(),
        };
        for n in 0.. {
            let place = match (left.get(n), right.get(n)) {
                (None, None) => break,
                (None, Some(_)) | (Some(_), None) => return None,
                (Some(Token::Tail), Some(_)) => {
                    let rest = right[n..].iter().map(|t| Place::of(t, right_owner));
                    overlap.places.extend(rest);
                    break;
                }
                (Some(_), Some(Token::Tail)) => {
                    let rest = left[n..].iter().map(|t| Place::of(t, left_owner));
                    overlap.places.extend(rest);
                    break;
                }
                (Some(Token::Any), Some(other)) => Place::of(other, right_owner),
                (Some(other), Some(Token::Any)) => Place::of(other, left_owner),
                (Some(a), Some(b)) => {
                    let (a, b) = (Term::of(a, left_owner)?, Term::of(b, right_owner)?);
                    if !overlap.equalities.equate(a, b) {
                        return None;
                    }
                    Place::Term(a)
                }
            };
            overlap.places.push(place);
        }
        Some(overlap)
    }

    /// Whether `tokens` matches every subject of the overlap, whatever the values.
    pub(super) fn is_within(&self, tokens: &'t [Token], owner: Owner) -> bool {
        for (n, token) in tokens.iter().enumerate() {
            let fits = match (token, self.places.get(n)) {
                (_, None) => false,
                (Token::Tail, Some(_)) => return true,
                (Token::Any, Some(place)) => !matches!(place, Place::Tail),
                (token, Some(Place::Term(there))) => Term::of(token, owner)
                    .is_some_and(|here| self.equalities.are_equal(here, *there)),
                (_, Some(_)) => false,
            };
            if !fits {
                return false;
            }
        }
        tokens.len() == self.places.len()
    }

    /// The NATS pattern of the overlap over all values.
    pub(super) fn pattern(&self) -> String {
        let words: Vec<&str> = self
            .places
            .iter()
            .map(|place| match place {
                Place::Term(term) => self.equalities.literal_of(*term).unwrap_or("*"),
                Place::Any => "*",
                Place::Tail => ">",
            })
            .collect();
        words.join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    fn template(text: &str) -> Template {
        Template::parse(text, "device").unwrap()
    }

    fn between(left: &str, right: &str) -> Option<String> {
        let (left, right) = (template(left), template(right));
        Overlap::find(
            (left.tokens(), Owner::One),
            (right.tokens(), Owner::Another),
        )
        .map(|overlap| overlap.pattern())
    }

    fn within_one(left: &str, right: &str) -> Option<String> {
        let (left, right) = (template(left), template(right));
        Overlap::find(
            (left.tokens(), Owner::One),
            (right.tokens(), Owner::OneElsewhere),
        )
        .map(|overlap| overlap.pattern())
    }

    #[test]
    fn ids_of_two_devices_never_meet() {
        for (left, right) in [
            ("d.{id}.x", "d.{id}.x"),
            ("d.{id}.>", "d.{id}.>"),
            ("d.{id}.*", "d.{id}.>"),
            ("d.{id}.m", "d.m.{id}"),
            ("d.{site}.{site}.>", "d.a.b.c"),
            ("d.{site}.{id}", "e.{site}.{id}"),
            ("d.{id}", "d.{id}.x"),
            ("d.{site}.{site}", "d.a.b"),
            ("_x.{id}", "_x._INBOX"),
        ] {
            assert_eq!(between(left, right), None, "{left} and {right}");
        }
    }

    #[test]
    fn what_an_adversary_chooses_meets_anything() {
        for (left, right, pattern) in [
            ("d.{site}.x", "d.{id}.x", "d.*.x"),
            ("d.{attr.a}.{id}", "d.{id}.{site}", "d.*.*"),
            ("d.{site}", "d.{site}", "d.*"),
            ("d.{id}.x", "d.all.x", "d.all.x"),
            ("d.*.cmd", "d.{id}.>", "d.*.cmd"),
            ("d.>", "d.{id}.cmd.>", "d.*.cmd.>"),
            ("d.>", "d.>", "d.>"),
            ("d.*", "d.>", "d.*"),
            ("d.{site}.{site}", "d.a.{site}", "d.a.a"),
        ] {
            assert_eq!(
                between(left, right).as_deref(),
                Some(pattern),
                "{left} and {right}"
            );
            assert_eq!(
                between(right, left).as_deref(),
                Some(pattern),
                "{right} and {left}"
            );
        }
    }

    #[test]
    fn sessions_of_one_device_have_the_id_in_common_and_no_other_value() {
        for (left, right, pattern) in [
            ("d.{id}.>", "d.{id}.m.>", Some("d.*.m.>")),
            ("d.{id}.a", "d.b.{id}", None),
            ("d.{site}.a", "d.b.{site}", Some("d.b.a")),
            ("d.{site}.{site}", "d.b.a", None),
            ("d.{id}", "d.{site}", Some("d.*")),
        ] {
            assert_eq!(
                within_one(left, right).as_deref(),
                pattern,
                "{left} and {right}"
            );
        }
    }

    #[test]
    fn a_covering_pattern_covers_for_all_values() {
        let (left, right) = (template("d.*.cmd"), template("d.{id}.>"));
        let overlap = Overlap::find(
            (left.tokens(), Owner::One),
            (right.tokens(), Owner::Another),
        )
        .unwrap();
        let covers = |text, owner| {
            let template = template(text);
            let tokens: Vec<Token> = template.tokens().to_vec();
            Overlap::find(
                (left.tokens(), Owner::One),
                (right.tokens(), Owner::Another),
            )
            .unwrap()
            .is_within(tokens.leak(), owner)
        };
        assert_eq!(overlap.pattern(), "d.*.cmd");
        for wide in ["d.*.cmd", "d.>", "d.*.>", "*.*.*", ">"] {
            assert!(covers(wide, Owner::One), "{wide}");
        }
        assert!(covers("d.{id}.cmd", Owner::Another));
        for narrow in ["d.{id}.cmd", "d.{site}.cmd", "d.a.cmd", "d.*", "d.*.cmd.>"] {
            assert!(!covers(narrow, Owner::One), "{narrow}");
        }
    }

    #[test]
    fn a_tail_is_not_covered_by_one_token() {
        let (left, right) = (template("d.>"), template("d.>"));
        let overlap = Overlap::find(
            (left.tokens(), Owner::One),
            (right.tokens(), Owner::Another),
        )
        .unwrap();
        let (one, deeper) = (template("d.*"), template("d.*.>"));
        assert!(!overlap.is_within(one.tokens(), Owner::One));
        assert!(!overlap.is_within(deeper.tokens(), Owner::One));
    }
}
