//! TLS and SASL: known by name, and refused until they work, because ignoring them would be unsafe.

use super::catalog::{Effect, Effect::*, Kind::*, Property, Scope::*, integer, property};

const TLS: Effect = Later("TLS");
const SASL: Effect = Later("SASL");

const fn tls(name: &'static str, aliases: &'static [&'static str], doc: &'static str) -> Property {
    property(name, aliases, Both, Text, "", TLS, doc)
}

const fn sasl(name: &'static str, aliases: &'static [&'static str], doc: &'static str) -> Property {
    property(name, aliases, Both, Text, "", SASL, doc)
}

const fn secret(name: &'static str, effect: Effect, doc: &'static str) -> Property {
    property(name, &[], Both, Secret, "", effect, doc)
}

#[rustfmt::skip] // A table reads best with its documentation below each row.
pub(super) const PROPERTIES: &[Property] = &[
    property("security.protocol", &[], Both, OneOf(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]), "plaintext", Applied,
        "How to talk to brokers. Only `plaintext` works today: the others are refused."),
    tls("ssl.cipher.suites", &[], "Cipher suites to offer."),
    tls("ssl.curves.list", &[], "Key exchange groups to offer."),
    tls("ssl.sigalgs.list", &[], "Signature algorithms to offer."),
    tls("ssl.key.location", &[], "File with the client's private key (PEM)."),
    secret("ssl.key.password", TLS, "Password of the client's private key."),
    secret("ssl.key.pem", TLS, "The client's private key itself (PEM)."),
    tls("ssl.certificate.location", &[], "File with the client's certificate (PEM)."),
    tls("ssl.certificate.pem", &[], "The client's certificate itself (PEM)."),
    tls("ssl.ca.location", &[], "File or folder with the certificates to trust (PEM)."),
    tls("ssl.ca.pem", &[], "The certificates to trust (PEM)."),
    tls("ssl.ca.certificate.stores", &[], "Windows certificate stores to trust."),
    tls("ssl.crl.location", &[], "File with revoked certificates."),
    tls("ssl.keystore.location", &[], "File with the client's key and certificate (PKCS#12)."),
    secret("ssl.keystore.password", TLS, "Password of that file."),
    tls("ssl.keystore.type", &[], "Form of the key store, for Java clients."),
    secret("ssl.keystore.key", TLS, "The client's private key itself, for Java clients."),
    tls("ssl.keystore.certificate.chain", &[], "The client's certificates themselves, for Java clients."),
    tls("ssl.truststore.location", &[], "File with the certificates to trust, for Java clients."),
    secret("ssl.truststore.password", TLS, "Password of the trust store."),
    tls("ssl.truststore.type", &[], "Form of the trust store, for Java clients."),
    tls("ssl.truststore.certificates", &[], "The certificates to trust, for Java clients."),
    tls("ssl.enabled.protocols", &[], "TLS versions to offer, for Java clients."),
    tls("ssl.protocol", &[], "TLS version to prefer, for Java clients."),
    tls("ssl.provider", &[], "Java's TLS provider."),
    tls("ssl.providers", &[], "OpenSSL's providers."),
    tls("ssl.keymanager.algorithm", &[], "Java's key manager."),
    tls("ssl.trustmanager.algorithm", &[], "Java's trust manager."),
    tls("ssl.secure.random.implementation", &[], "Java's random numbers for TLS."),
    tls("ssl.engine.factory.class", &[], "Java class that makes TLS engines."),
    tls("ssl.engine.location", &[], "OpenSSL's engine library."),
    tls("ssl.engine.id", &[], "OpenSSL's engine."),
    tls("security.providers", &[], "Java classes that provide algorithms."),
    property("enable.ssl.certificate.verification", &[], Both, Boolean, "true", TLS, "Check the broker's certificate."),
    property("ssl.endpoint.identification.algorithm", &[], Both, Text, "https", TLS, "Check the broker's host name against its certificate."),
    property("https.ca.location", &[], Both, Text, "", TLS, "Certificates to trust for OAuth servers."),
    property("https.ca.pem", &[], Both, Text, "", TLS, "Certificates to trust for OAuth servers (PEM)."),
    sasl("sasl.mechanism", &["sasl.mechanisms"], "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or GSSAPI."),
    sasl("sasl.username", &[], "User name for PLAIN and SCRAM."),
    secret("sasl.password", SASL, "Password for PLAIN and SCRAM."),
    secret("sasl.jaas.config", SASL, "Java's form of user name and password."),
    sasl("sasl.client.callback.handler.class", &[], "Java class that answers for credentials."),
    sasl("sasl.login.callback.handler.class", &[], "Java class that logs in."),
    sasl("sasl.login.class", &[], "Java class for the login."),
    sasl("sasl.login.connect.timeout.ms", &[], "Milliseconds to connect to an OAuth server."),
    sasl("sasl.login.read.timeout.ms", &[], "Milliseconds to read from an OAuth server."),
    sasl("sasl.login.refresh.buffer.seconds", &[], "Seconds before expiry at which to log in again."),
    sasl("sasl.login.refresh.min.period.seconds", &[], "Least seconds between logins."),
    sasl("sasl.login.refresh.window.factor", &[], "Part of a credential's life after which to log in again."),
    sasl("sasl.login.refresh.window.jitter", &[], "Jitter of that."),
    sasl("sasl.login.retry.backoff.ms", &[], "First pause between logins."),
    sasl("sasl.login.retry.backoff.max.ms", &[], "Longest pause between logins."),
    sasl("sasl.kerberos.service.name", &[], "Kerberos name of the brokers' service."),
    sasl("sasl.kerberos.principal", &[], "Kerberos principal of this client."),
    sasl("sasl.kerberos.kinit.cmd", &[], "Command that gets a Kerberos ticket."),
    sasl("sasl.kerberos.keytab", &[], "Kerberos key table."),
    property("sasl.kerberos.min.time.before.relogin", &[], Both, integer(0, 86_400_000), "", SASL, "Least milliseconds between Kerberos logins."),
    sasl("sasl.kerberos.ticket.renew.jitter", &[], "Jitter of Kerberos renewals."),
    sasl("sasl.kerberos.ticket.renew.window.factor", &[], "Part of a ticket's life after which to renew it."),
    sasl("sasl.oauthbearer.config", &[], "Settings of unsecured OAuth tokens."),
    property("enable.sasl.oauthbearer.unsecure.jwt", &[], Both, Boolean, "false", SASL, "Make unsigned OAuth tokens, for tests."),
    sasl("sasl.oauthbearer.method", &[], "How to get an OAuth token."),
    sasl("sasl.oauthbearer.client.id", &["sasl.oauthbearer.client.credentials.client.id"], "Client id at the OAuth server."),
    secret("sasl.oauthbearer.client.secret", SASL, "Client secret at the OAuth server."),
    secret("sasl.oauthbearer.client.credentials.client.secret", SASL, "Client secret at the OAuth server."),
    sasl("sasl.oauthbearer.scope", &[], "Scope to ask the OAuth server for."),
    sasl("sasl.oauthbearer.extensions", &[], "Extensions to send with the token."),
    sasl("sasl.oauthbearer.token.endpoint.url", &[], "The OAuth server's token address."),
    sasl("sasl.oauthbearer.grant.type", &[], "OAuth grant to use."),
    sasl("sasl.oauthbearer.jwks.endpoint.url", &[], "Where the OAuth server's keys are."),
    sasl("sasl.oauthbearer.scope.claim.name", &[], "Claim that holds the scope."),
    sasl("sasl.oauthbearer.sub.claim.name", &[], "Claim that holds the subject."),
    sasl("sasl.oauthbearer.assertion.algorithm", &[], "Algorithm of signed assertions."),
    sasl("sasl.oauthbearer.assertion.file", &[], "File with an assertion."),
    sasl("sasl.oauthbearer.assertion.private.key.file", &[], "File with the key for assertions."),
    secret("sasl.oauthbearer.assertion.private.key.passphrase", SASL, "Password of that key."),
    secret("sasl.oauthbearer.assertion.private.key.pem", SASL, "The key for assertions itself."),
    sasl("sasl.oauthbearer.metadata.authentication.type", &[], "Cloud metadata service to get tokens from."),
];
