//! Messages that no known server has made for this callout, or not just now.

use leafgate_nats_jwt::{CurvePublicKey, KeyKind, MAX_TOKEN_BYTES, RequestClaims, SigningKey};
#[expect(clippy::disallowed_types, reason = "a test draws its own keys")]
use rand_core::OsRng;
use serde_json::json;

use super::{Row, assert_ignored};
use crate::support::bench::made_up_server::{resigned, unsigned, with_header, with_signature_of};
use crate::support::bench::{Bench, BenchOptions, MadeUpServer, Message, Reply};
use crate::support::decisions::Witness;

/// Longer than the leeway for clocks that differ.
const FIVE_MINUTES_SECS: i64 = 300;

#[tokio::test]
async fn messages_in_the_clear_that_no_known_server_made_get_no_answer() {
    let mut bench = Bench::start(BenchOptions::default()).await;
    bench.assert_goes_on("at first").await;
    let mut rows = common_rows(&bench).await;
    rows.extend(clear_rows(&bench));
    for row in rows {
        assert_ignored(&mut bench, &row).await;
    }
    a_forgery_among_good_requests(&mut bench).await;
}

#[tokio::test]
async fn sealed_messages_that_no_known_server_made_get_no_answer() {
    let options = BenchOptions {
        xkey: true,
        ..BenchOptions::default()
    };
    let mut bench = Bench::start(options).await;
    // From now on the server's xkey vouches for its requests in place of its signature.
    bench.assert_goes_on("at first").await;
    let mut rows = common_rows(&bench).await;
    rows.extend(sealed_rows(&bench).await);
    for row in rows {
        assert_ignored(&mut bench, &row).await;
    }
}

/// What is wrong whether requests are sealed or not.
async fn common_rows(bench: &Bench) -> Vec<Row> {
    let mut rows = token_rows(bench);
    rows.extend(claims_rows(bench));
    rows.extend(server_rows(bench).await);
    let good = bench.message(&bench.good_claims());
    let reply = |name, reply| {
        Row::new(
            name,
            good.clone().with_reply(reply),
            "reply-subject-foreign",
        )
    };
    rows.extend([
        reply("no reply subject", Reply::Nowhere),
        reply(
            "the answer would evict a device",
            Reply::To("leafgate.v1.evict"),
        ),
        reply(
            "the answer would go to another replica",
            Reply::To("_INBOX.callout-1.1"),
        ),
        reply(
            "a reply subject that only begins like nats-server's",
            Reply::To("$SYS._INBOXES.1"),
        ),
    ]);
    rows
}

/// Not a request in form.
fn token_rows(bench: &Bench) -> Vec<Row> {
    let claims = bench.good_claims();
    let token = claims.encode(bench.server.key()).unwrap();
    let key = bench.server.key();
    let row = |name, token: &str| {
        Row::new(
            name,
            bench.message_with(token, claims.user_nkey),
            "request-malformed",
        )
    };
    let none = with_header(&token, r#"{"typ":"JWT","alg":"none"}"#, key);
    vec![
        row("nothing", ""),
        row("garbage", "garbage"),
        row("garbage in three parts", "gar.ba.ge"),
        row("half a request", &token[..token.len() / 2]),
        row("algorithm none", &unsigned(&none)),
        row("algorithm none, with a signature", &none),
        row(
            "another algorithm",
            &with_header(&token, r#"{"typ":"JWT","alg":"HS256"}"#, key),
        ),
        row("no signature", &unsigned(&token)),
        row(
            "JSON of another kind",
            &resigned(&token, key, |claims| *claims = json!([])),
        ),
        row(
            "another type of claims",
            &resigned(&token, key, |claims| claims["nats"]["type"] = json!("user")),
        ),
        row(
            "claims of version 1",
            &resigned(&token, key, |claims| claims["nats"]["version"] = json!(1)),
        ),
        row(
            "no time of expiry",
            &resigned(&token, key, |claims| claims["exp"] = json!(0)),
        ),
        row(
            "an account for a user",
            &resigned(&token, key, |claims| {
                claims["nats"]["user_nkey"] = json!(bench.issuer.as_str());
            }),
        ),
    ]
}

/// Authentic, but for somebody else or another time.
fn claims_rows(bench: &Bench) -> Vec<Row> {
    let good = bench.good_claims();
    let key = bench.server.key();
    let token = good.encode(key).unwrap();
    let another = SigningKey::generate(KeyKind::Account, &mut OsRng);
    let changed = |name, reason, change: &dyn Fn(&mut RequestClaims)| {
        let mut claims = bench.good_claims();
        change(&mut claims);
        Row::new(name, bench.message(&claims), reason)
    };
    let wrong_audience = resigned(&token, key, |claims| claims["aud"] = json!("elsewhere"));
    vec![
        Row::new(
            "a wrong audience",
            bench.message_with(&wrong_audience, good.user_nkey),
            "request-misdirected",
        ),
        changed(
            "another issuer's request",
            "request-misdirected",
            &|claims| {
                claims.subject = another.public().to_string();
            },
        ),
        changed("expired five minutes ago", "request-expired", &|claims| {
            claims.expires_at_secs -= FIVE_MINUTES_SECS;
            claims.issued_at_secs -= FIVE_MINUTES_SECS;
        }),
        changed("made in five minutes", "clock-skew", &|claims| {
            claims.expires_at_secs += FIVE_MINUTES_SECS;
            claims.issued_at_secs += FIVE_MINUTES_SECS;
        }),
    ]
}

/// Made by servers that the system account does not know.
async fn server_rows(bench: &Bench) -> Vec<Row> {
    let unknown = MadeUpServer::new();
    let misnamed = MadeUpServer::new();
    bench.vouch_for(misnamed.id(), bench.server.id()).await;
    let mut expired = bench.good_claims();
    expired.issued_at_secs -= FIVE_MINUTES_SECS;
    expired.expires_at_secs -= FIVE_MINUTES_SECS;
    let expired = bench.message_of(&MadeUpServer::new(), expired);
    let mut posing = bench.good_claims();
    posing.server.id = unknown.id();
    vec![
        Row::new(
            "an unknown server id",
            bench.good_message_of(&unknown),
            "server-unverified",
        ),
        Row::new(
            "a server id that another server answers for",
            bench.good_message_of(&misnamed),
            "server-unverified",
        ),
        Row::new(
            "a known server in the name of another",
            bench.message(&posing),
            "request-forged",
        ),
        Row::new(
            "an old request of an unknown server",
            expired,
            "request-expired",
        ),
    ]
}

fn clear_rows(bench: &Bench) -> Vec<Row> {
    let stranger = MadeUpServer::new();
    let good = bench.good_claims();
    let token = good.encode(bench.server.key()).unwrap();
    let other = bench.good_claims().encode(bench.server.key()).unwrap();
    let someone_elses = resigned(&token, stranger.key(), |_| {});
    let sealed = Message {
        xkey: Some(stranger.xkey().to_string()),
        ..bench.message(&good)
    };
    let forged = |name, token: &str| {
        Row::new(
            name,
            bench.message_with(token, good.user_nkey),
            "request-forged",
        )
    };
    vec![
        forged(
            "another's signature in a known server's name",
            &someone_elses,
        ),
        forged(
            "the signature of another request",
            &with_signature_of(&token, &other),
        ),
        Row::new(
            "sealed, and no xkey is configured",
            sealed,
            "request-seal-broken",
        ),
        Row::new(
            "more than a token may have",
            bench.message_with(&too_large(), good.user_nkey),
            "request-malformed",
        ),
    ]
}

async fn sealed_rows(bench: &Bench) -> Vec<Row> {
    let xkey = bench.xkey.as_ref().unwrap();
    // A second server of the cluster, and one that is no server at all.
    let x = MadeUpServer::new();
    bench.vouch_for(x.id(), x.id()).await;
    let stranger = MadeUpServer::new();

    let y = &bench.server;
    let good = bench.good_claims();
    let user = good.user_nkey;
    let token = good.encode(y.key()).unwrap();
    let seal = |server: &MadeUpServer, token: &str| {
        Message::sealed(
            token.as_bytes(),
            &server.shared(xkey),
            server.xkey().as_str(),
            user,
        )
    };
    let mut x_claims = bench.good_claims();
    x_claims.server.xkey = Some(*x.xkey());
    let mut stranger_claims = bench.good_claims();
    stranger_claims.server.xkey = Some(*stranger.xkey());
    let in_ys_name = |signer: &MadeUpServer, claims: &RequestClaims| {
        let token = claims.encode(signer.key()).unwrap();
        resigned(&token, signer.key(), |claims| claims["iss"] = json!(y.id()))
    };
    let low_order = low_order_xkey();
    let named = |xkey: &str| Message {
        xkey: Some(xkey.to_owned()),
        ..seal(y, &token)
    };
    let of_y = |message: Message| Message {
        xkey: Some(y.xkey().to_string()),
        ..message
    };
    let mut damaged = seal(y, &token);
    *damaged.payload.last_mut().unwrap() ^= 1;
    let mut cut = seal(y, &token);
    cut.payload.truncate(20);
    vec![
        Row::new(
            "plain text",
            Message::plain(&*token, user),
            "request-unsealed",
        ),
        Row::new(
            "Y's request in X's box",
            seal(&x, &token),
            "request-seal-broken",
        ),
        Row::new(
            "X's box, key and xkey, claiming to be Y",
            seal(&x, &x_claims.encode(x.key()).unwrap()),
            "request-forged",
        ),
        Row::new(
            "X's box and key in the name of Y",
            seal(&x, &in_ys_name(&x, &x_claims)),
            "request-forged",
        ),
        Row::new(
            "a stranger's box and key in the name of Y",
            seal(&stranger, &in_ys_name(&stranger, &stranger_claims)),
            "request-forged",
        ),
        Row::new(
            "X's box, said to be Y's",
            of_y(seal(&x, &token)),
            "request-seal-broken",
        ),
        Row::new("a damaged box", damaged, "request-seal-broken"),
        Row::new("a box cut off", cut, "request-seal-broken"),
        Row::new(
            "more than a box may hold",
            seal(y, &too_large()),
            "request-seal-broken",
        ),
        Row::new(
            "plain text with the header of a box",
            of_y(Message::plain(&*token, user)),
            "request-seal-broken",
        ),
        Row::new(
            "an xkey of low order",
            named(low_order.as_str()),
            "request-seal-broken",
        ),
        Row::new("an xkey that is none", named("X"), "request-seal-broken"),
        Row::new(
            "an nkey as xkey",
            named(y.id().as_str()),
            "request-seal-broken",
        ),
    ]
}

/// Every message but this one is below what nats-server takes by default.
fn too_large() -> String {
    "x".repeat(MAX_TOKEN_BYTES + 1)
}

/// The point of order 1, whose boxes anyone can make and open (RFC 7748, 6.1).
fn low_order_xkey() -> CurvePublicKey {
    CurvePublicKey::parse("XAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPQN").unwrap()
}

/// Requests that are ready together are verified together: one bad one changes nothing for the
/// others.
async fn a_forgery_among_good_requests(bench: &mut Bench) {
    const ROW: &str = "a forgery among good requests";
    const GOOD: usize = 8;
    let good: Vec<Message> = (0..GOOD)
        .map(|_| bench.message(&bench.good_claims()))
        .collect();
    let token = |message: &Message| String::from_utf8(message.payload.clone()).unwrap();
    let forged = with_signature_of(&token(&good[0]), &token(&good[1]));
    let forged = Message::plain(forged, good[0].user);

    let witness = Witness::begin(&mut bench.callout).await;
    let mut inboxes = Vec::new();
    for (place, message) in good.iter().enumerate() {
        if place == GOOD / 2 {
            bench.send(&forged).await;
        }
        inboxes.push(bench.send(message).await);
    }
    for (message, inbox) in good.iter().zip(&inboxes) {
        let answer = bench.answer(message, inbox, ROW).await;
        assert!(answer.outcome.is_ok(), "{ROW}");
    }
    let decisions = [&["request-forged"][..], &["allowed"; GOOD]].concat();
    witness.saw(&mut bench.callout, ROW, &decisions).await;
}
