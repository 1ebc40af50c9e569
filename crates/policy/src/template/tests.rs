use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Template, String> {
    Template::parse(text, "device").map_err(|f| f.message)
}

#[test]
fn a_template_renders_and_prints() {
    let template = parse("{prefix}.{id}.zone.{attr.zone}.*.>").unwrap();
    assert_eq!(template.to_string(), "device.{id}.zone.{attr.zone}.*.>");
    let subject: Result<_, ()> = template.render(|variable| {
        Ok(match variable {
            Variable::Id => "0001",
            _ => "north",
        })
    });
    assert_eq!(subject.unwrap(), "device.0001.zone.north.*.>");
    assert_eq!(template.pattern_of_all(), "device.*.zone.*.*.>");
    assert_eq!(template.variables().count(), 2);
}

#[test]
fn a_prefix_may_have_several_tokens() {
    let template = Template::parse("{prefix}.{id}.>", "acme.device").unwrap();
    assert_eq!(template.to_string(), "acme.device.{id}.>");
    assert!(check_prefix("acme.device").is_ok());
    for bad in ["", ".", "a.", "$SYS", "_INBOX", "a b", "*", ">", "{id}"] {
        assert!(check_prefix(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_subject_is_refused() {
    for (text, why) in [
        ("", "empty"),
        ("{id}.cmd", "can't start with {id}"),
        ("{attr.x}.cmd", "can't start with {attr.x}"),
        ("device.{id}cmd", "mixes a variable"),
        ("device.x-{id}", "mixes a variable"),
        ("device.{id}{site}", "mixes a variable"),
        ("device.{id", "mixes a variable"),
        ("device.x{prefix}", "mixes a variable"),
        ("device.{}", "unknown variable {}"),
        ("device.{idd}", "unknown variable {idd}"),
        ("device.{attr.}", "name of an attribute"),
        ("device.{attr.a.b}", "name of an attribute"),
        ("device.>.x", "only at the end"),
        ("device.a*", "mixes a wildcard"),
        ("device.a>", "mixes a wildcard"),
        ("device..x", "empty token"),
        (".device", "empty token"),
        ("device.", "empty token"),
        ("device.cmd queue", "no blanks"),
        ("device.\tcmd", "no blanks"),
        ("device.\u{7f}", "character"),
        ("device.ü", "character"),
    ] {
        let message = parse(text).unwrap_err();
        assert!(message.contains(why), "{text:?}: {message}");
    }
    assert!(parse(&"a".repeat(MAX_SUBJECT_LEN + 1)).is_err());
}

#[test]
fn a_misspelt_variable_gets_a_suggestion() {
    let fault = Template::parse("device.{devicetype}", "device").unwrap_err();
    assert_eq!(fault.hint.as_deref(), Some("did you mean {device_type}?"));
}

#[test]
fn the_servers_subjects_can_not_be_granted() {
    for text in [
        ">",
        "*",
        "*.x",
        "$SYS.>",
        "$SYS._INBOX.x",
        "_R_.>",
        "_GR_.x",
        "$G.x",
        "$NRG.x",
        "$MQTT.sub.x",
        "$JSC.x",
        "$LDS.x",
        "$GNR.x",
        "$OBJ.x",
    ] {
        let template = parse(text).unwrap();
        assert!(template.check_grantable().is_err(), "{text}");
    }
    for text in [
        "device.{id}.>",
        "_INBOX.{id}.>",
        "$JS.API.>",
        "$KV.a.{id}",
        "$O.a.M.{id}",
        "$SRV.PING",
    ] {
        let template = parse(text).unwrap();
        assert!(template.check_grantable().is_ok(), "{text}");
    }
}

proptest! {
    #[test]
    fn substitution_keeps_the_number_of_tokens(
        words in prop::collection::vec(
            prop_oneof![
                "[a-z]{1,3}", Just("{id}".to_owned()), Just("{site}".to_owned()),
                Just("{attr.zone}".to_owned()), Just("*".to_owned()),
            ],
            0..6,
        ),
        value in "[a-zA-Z0-9]([a-zA-Z0-9_-]{0,10}[a-zA-Z0-9])?",
    ) {
        let text = std::iter::once("first".to_owned()).chain(words).collect::<Vec<_>>().join(".");
        let template = parse(&text).unwrap();
        let subject: Result<String, ()> = template.render(|_| Ok(&value));
        let subject = subject.unwrap();
        prop_assert_eq!(subject.split('.').count(), template.tokens().len());
        prop_assert_eq!(
            subject.matches(['*', '>', ' ']).count(),
            template.tokens().iter().filter(|t| matches!(t, Token::Any | Token::Tail)).count()
        );
        prop_assert_eq!(template.to_string(), text);
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,40}") {
        if let Ok(template) = parse(&text) {
            prop_assert!(!matches!(template.tokens().first(), Some(Token::Variable(_))));
        }
    }
}
