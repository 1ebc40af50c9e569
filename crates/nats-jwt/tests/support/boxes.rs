use data_encoding::BASE64;
use leafgate_nats_jwt::CurveKey;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub struct BoxVector {
    pub name: String,
    pub sender_seed: String,
    pub recipient_seed: String,
    pub plain: String,
    pub sealed_base64: String,
}

pub fn seal(vector: &BoxVector) -> Vec<u8> {
    let recipient = curve_key(&vector.recipient_seed);
    let sealed = BASE64.decode(vector.sealed_base64.as_bytes()).unwrap();
    let nonce = sealed[4..28].try_into().unwrap();
    curve_key(&vector.sender_seed)
        .shared(recipient.public())
        .unwrap()
        .seal(vector.plain.as_bytes(), nonce)
}

pub fn check(vector: &BoxVector) {
    let sender = curve_key(&vector.sender_seed);
    let sealed = BASE64.decode(vector.sealed_base64.as_bytes()).unwrap();
    let shared = curve_key(&vector.recipient_seed)
        .shared(sender.public())
        .unwrap();
    assert_eq!(
        shared.open(&sealed).unwrap(),
        vector.plain.as_bytes(),
        "{}",
        vector.name
    );
    assert_eq!(seal(vector), sealed, "{}", vector.name);
}

fn curve_key(seed: &str) -> CurveKey {
    CurveKey::from_seed(&seed.into()).unwrap()
}
