//! The registry API: devices and certificates over REST and EST, and the revocation status of both.
