use super::*;
use crate::set::{Constants, PolicySource};

fn load(text: &str) -> PolicySet {
    let source = PolicySource {
        name: "p.toml".into(),
        text: text.into(),
    };
    PolicySet::load(&[source], &Constants::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn policy(name: &str, device_type: &str, body: &str) -> String {
    format!(
        "[[policy]]\nname = \"{name}\"\naccount = \"DEVICES\"\n\
         match = {{ device_type = \"{device_type}\" }}\n{body}\n"
    )
}

/// The proof of one policy that matches every device.
fn prove_one(body: &str) -> Proof {
    load(&policy("only", "*", body)).prove()
}

fn subjects(proof: &Proof) -> Vec<&str> {
    proof.sharings.iter().map(|s| s.subject.as_str()).collect()
}

#[test]
fn a_response_permission_and_an_echo_are_publish_on_everything() {
    let lists =
        "publish.allow = [\"device.{id}.metrics.>\"]\nsubscribe.allow = [\"device.{id}.>\"]\n";
    assert!(prove_one(lists).is_isolated());

    let proof = prove_one(&format!("{lists}responses = {{ max = 1, ttl = \"1m\" }}"));
    assert!(!proof.is_isolated());
    assert_eq!(subjects(&proof), [">"]);
    let text = proof.to_string();
    assert!(
        text.contains("leak:     > (everything): a device of \"only\" may answer"),
        "{text}"
    );
    assert!(
        text.contains("it can send itself device.*.metrics.>"),
        "{text}"
    );

    let no_shared = "shared = [{ subject = \"device.>\", reason = \"x\" }]";
    let proof = prove_one(&format!(
        "{lists}responses = {{ max = 1, ttl = \"1m\" }}\n{no_shared}"
    ));
    assert!(!proof.is_isolated(), "only > covers what an answer reaches");
}

#[test]
fn a_deny_list_stops_the_echo_only_where_it_covers_it() {
    let answers = "responses = { max = 1, ttl = \"1m\" }";
    let echo = |deny: &str| {
        prove_one(&format!(
            "publish.allow = [\"device.{{id}}.metrics.>\"]\n\
             subscribe.allow = [\"device.{{id}}.>\"]\nsubscribe.deny = [\"{deny}\"]\n{answers}"
        ))
    };
    assert!(echo("device.{id}.metrics.>").is_isolated());
    assert!(echo("device.*.metrics.>").is_isolated());
    assert!(!echo("device.{id}.metrics.*").is_isolated());
    assert!(!echo("device.{id}.metrics.a").is_isolated());
}

#[test]
fn a_device_that_answers_must_not_hear_other_devices() {
    let gateway = policy(
        "gateway",
        "gateway",
        "publish.allow = [\"site.{site}.all\"]\n\
         shared = [{ subject = \"site.*.all\", reason = \"broadcast\" }]",
    );
    let pump = |answers: &str| {
        policy(
            "pump",
            "*",
            &format!(
                "subscribe.allow = [\"site.{{site}}.all\"]\n{answers}\n\
                 shared = [{{ subject = \"site.{{site}}.all\", reason = \"broadcast\" }}]"
            ),
        )
    };
    assert!(
        load(&format!("{gateway}{}", pump("")))
            .prove()
            .is_isolated()
    );
    let proof = load(&format!(
        "{gateway}{}",
        pump("responses = { max = 1, ttl = \"1m\" }")
    ))
    .prove();
    let leak = proof.sharings.iter().find(|s| !s.is_declared()).unwrap();
    assert_eq!(leak.subject, ">");
    assert!(
        leak.to_string()
            .contains("a device of \"gateway\" can send it site.*.all"),
        "{leak}"
    );
}

#[test]
fn sessions_of_one_device_under_different_grants_hear_each_other() {
    let answers = "responses = { max = 1, ttl = \"1m\" }";
    let quarantined = prove_one(&format!(
        "publish.allow = [\"d.{{id}}.a\"]\n\
         [policy.quarantine]\nsubscribe.allow = [\"d.{{id}}.a\"]\n{answers}"
    ));
    assert_eq!(subjects(&quarantined), [">"]);
    let text = quarantined.to_string();
    assert!(text.contains("in quarantine may answer"), "{text}");
    assert!(text.contains("it can send itself d.*.a"), "{text}");

    let talks = policy("talks", "a", "publish.allow = [\"d.{id}.a\"]");
    let hears = format!("subscribe.allow = [\"d.{{id}}.a\"]\n{answers}");
    let proof = load(&format!("{talks}{}", policy("hears", "*", &hears))).prove();
    assert!(!proof.is_isolated(), "the type can change under a session");

    let lists =
        "publish.allow = [\"d.{id}.{attr.k}.a\"]\nsubscribe.allow = [\"d.{id}.b.{attr.k}\"]";
    let proof = prove_one(&format!("{lists}\n{answers}"));
    assert!(
        !proof.is_isolated(),
        "an attribute can change under a session"
    );
}

#[test]
fn every_kind_of_overlap_is_found() {
    for (body, subject) in [
        ("publish.allow = [\"metrics.>\"]", "metrics.>"),
        ("subscribe.allow = [\"cmd.all\"]", "cmd.all"),
        ("subscribe.allow = [\"_INBOX.>\"]", "_INBOX.>"),
        (
            "publish.allow = [\"d.{id}.a\"]\nsubscribe.allow = [\"d.*.a\"]",
            "d.*.a",
        ),
        ("publish.allow = [\"d.{site}.a\"]", "d.*.a"),
        ("publish.allow = [\"d.{device_type}\"]", "d.*"),
        ("publish.allow = [\"d.{attr.zone}.>\"]", "d.*.>"),
        ("subscribe.allow = [\"d.{id}\", \"d.all\"]", "d.all"),
    ] {
        let proof = prove_one(body);
        assert_eq!(subjects(&proof), [subject], "{body}");
        assert!(!proof.is_isolated(), "{body}");
    }
    for body in [
        "publish.allow = [\"d.{id}.{site}.>\"]\nsubscribe.allow = [\"d.{id}.{attr.a}\", \"_INBOX.{id}.>\"]",
        "publish.allow = [\"$KV.{id}.a\"]",
        "publish.allow = []",
    ] {
        assert!(prove_one(body).is_isolated(), "{body}");
    }
}

#[test]
fn quarantine_is_part_of_the_proof() {
    let proof = prove_one(
        "publish.allow = [\"d.{id}.a\"]\n[policy.quarantine]\nsubscribe.allow = [\"d.*.a\"]",
    );
    assert_eq!(subjects(&proof), ["d.*.a"]);
    let Cause::Overlap { grants, .. } = &proof.sharings[0].cause else {
        panic!("{proof}");
    };
    assert!(grants.iter().any(|grant| grant.quarantine));
}

#[test]
fn policies_of_one_account_are_proven_against_each_other() {
    let own = policy("own", "own", "publish.allow = [\"d.{id}.a\"]");
    let spy = policy("spy", "*", "subscribe.allow = [\"d.*.a\"]");
    let proof = load(&format!("{own}{spy}")).prove();
    let between = proof
        .sharings
        .iter()
        .find(|s| s.between.len() == 2)
        .unwrap();
    assert_eq!(between.undeclared.len(), 2);
    assert!(
        between
            .to_string()
            .contains("any device of \"spy\" can read what one of \"own\" publishes"),
        "{between}"
    );

    let declared = format!("{spy}shared = [{{ subject = \"d.*.a\", reason = \"monitor\" }}]\n");
    let proof = load(&format!("{own}{declared}")).prove();
    let between = proof
        .sharings
        .iter()
        .find(|s| s.between.len() == 2)
        .unwrap();
    assert_eq!(between.undeclared[0].name, "own", "both must declare it");

    let apart = own.replace("DEVICES", "OTHERS");
    let proof = load(&format!("{apart}{declared}")).prove();
    assert!(proof.is_isolated(), "{proof}");
    assert!(proof.policies[0].isolated);

    let (one, two) = (load(&own), load(&spy));
    assert!(!prove(&[&one, &two]).is_isolated(), "sets together");
}

#[test]
fn a_deny_of_the_others_own_id_denies_nothing() {
    let own = policy("own", "own", "subscribe.allow = [\"d.{id}.a\"]");
    let rest = policy(
        "rest",
        "*",
        "subscribe.allow = [\"d.*.a\"]\nsubscribe.deny = [\"d.{id}.a\"]",
    );
    let proof = load(&format!("{own}{rest}")).prove();
    assert!(
        proof.sharings.iter().any(|s| s.between.len() == 2),
        "{proof}"
    );
    let all = rest.replace("deny = [\"d.{id}.a\"]", "deny = [\"d.*.a\"]");
    assert!(load(&format!("{own}{all}")).prove().is_isolated());
}

#[test]
fn a_subscription_below_a_last_star_is_counted() {
    let proof = prove_one("publish.allow = [\"d.{id}.a.b\"]\nsubscribe.allow = [\"d.*\"]");
    assert!(subjects(&proof).contains(&"d.>"), "{proof}");
    assert!(
        proof.to_string().contains("ends in * also admits"),
        "{proof}"
    );
    let harmless =
        prove_one("publish.allow = [\"d.*\"]\nshared = [{ subject = \"d.*\", reason = \"x\" }]");
    assert!(
        harmless.is_isolated(),
        "publishing does not go below: {harmless}"
    );
}

#[test]
fn jetstream_and_buckets_count_as_what_they_reach() {
    let proof = prove_one("publish.allow = [\"$JS.API.CONSUMER.MSG.NEXT.S.{id}\"]");
    assert_eq!(subjects(&proof), [">"]);
    assert!(!proof.is_isolated());

    let proof = prove_one("publish.allow = [\"$JS.API.>\"]\nsubscribe.allow = [\"$JS.EVENT.>\"]");
    assert_eq!(subjects(&proof), [">", ">"], "one finding for each grant");

    let grant = "publish.allow = [\"$JS.hub.API.DIRECT.GET.S.>\"]";
    let declared = "shared = [{ subject = \"$JS.hub.API.DIRECT.GET.>\", reason = \"history\" }]";
    assert!(prove_one(&format!("{grant}\n{declared}")).is_isolated());

    for list in ["publish", "subscribe"] {
        let proof = prove_one(&format!("{list}.allow = [\"$KV.config.{{id}}.>\"]"));
        assert_eq!(subjects(&proof), ["$KV.config.>"]);
        assert!(!proof.is_isolated());
    }
    let proof = prove_one("publish.allow = [\"$O.files.M.{id}\"]");
    assert_eq!(subjects(&proof), ["$O.files.>"], "an object store");
    let denied =
        prove_one("publish.allow = [\"$KV.config.{id}\"]\npublish.deny = [\"$KV.config.>\"]");
    assert!(
        !denied.is_isolated(),
        "a deny list is no bound for a bucket"
    );
}

#[test]
fn leaf_nodes_are_not_proven() {
    let body = "publish.allow = [\"d.{id}.a\"]\nsession.connection_types = ";
    assert!(prove_one(&format!("{body}[\"STANDARD\", \"MQTT\"]")).is_isolated());
    for kind in ["LEAFNODE", "LEAFNODE_WS"] {
        let proof = prove_one(&format!("{body}[\"STANDARD\", \"{kind}\"]"));
        assert_eq!(subjects(&proof), [">"], "{kind}");
        assert!(!proof.is_isolated(), "{kind}");
    }
}

#[test]
fn what_is_declared_passes_and_what_is_not_shared_is_named() {
    let body = "subscribe.allow = [\"_INBOX.>\"]\nshared = [\n\
                { subject = \"_INBOX.>\", reason = \"old clients\" },\n\
                { subject = \"news.>\", reason = \"gone\" },\n]";
    let proof = prove_one(body);
    assert!(proof.is_isolated());
    assert!(!proof.policies[0].isolated);
    assert_eq!(proof.unused.len(), 1);
    assert_eq!(proof.unused[0].location.line, 8);
    let text = proof.to_string();
    assert!(text.contains("declared at p.toml:7: old clients"), "{text}");
    assert!(text.contains("unused:   news.> is declared"), "{text}");

    let too_narrow = prove_one(
        "subscribe.allow = [\"_INBOX.>\"]\nshared = [{ subject = \"_INBOX.*\", reason = \"x\" }]",
    );
    assert!(!too_narrow.is_isolated());
}

#[test]
fn an_undeclared_sharing_says_how_to_mend_it() {
    let text = prove_one("subscribe.allow = [\"_INBOX.>\"]").to_string();
    assert_eq!(
        text,
        "leak:     _INBOX.> between all devices of \"only\"   p.toml:5\n          \
         any device can read what is sent to another, replies included\n          \
         declare _INBOX.> under `shared` or scope it: _INBOX.{id}.>"
    );
    let scope = |body: &str| match prove_one(body).sharings.remove(0).cause {
        Cause::Overlap { scope, .. } => scope,
        other => panic!("{other:?}"),
    };
    assert_eq!(scope("publish.allow = [\"d.*.a\"]"), "d.{id}.a");
    assert_eq!(scope("publish.allow = [\"d.a\"]"), "d.a.{id}");
}

#[test]
fn reply_paths_list_where_answers_can_be_sent() {
    let proof = prove_one(
        "publish.allow = [\"d.{id}.a.>\", \"d.{id}.a.b\"]\nsubscribe.allow = [\"d.{id}.cmd\"]",
    );
    assert_eq!(proof.reply_paths.len(), 1);
    assert_eq!(proof.reply_paths[0].via, ["d.*.a.>"]);
    assert_eq!(
        proof.reply_paths[0].into,
        ["d.*.a.>", "d.*.cmd"],
        "an answer reaches another's ear, and passes for what another says"
    );
    let json = serde_json::to_value(&proof).unwrap();
    assert_eq!(json["reply_paths"][0]["policy"]["location"]["line"], 1);
}
