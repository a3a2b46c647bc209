//! TLS to PostgreSQL: rustls on graviola, which needs no C.
//!
//! libpq checks less than the web does, and people rely on it: `require` checks nobody, `verify-ca` no
//! names, and a self-signed certificate may be its own root.

use std::{fmt, fs, future::Future, io, os::unix::fs::MetadataExt, path::Path, pin::Pin, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError,
    RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::settings::{Roots, SslMode, SslSettings, TlsVersion};

/// Makes secured streams, or refuses to: one type for both, since the code of a connection exists once for
/// each. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls(Option<Arc<ClientConfig>>);

impl Tls {
    /// For connections that never become secured.
    pub(super) fn none() -> Tls {
        Tls(None)
    }

    /// Reads the certificates and keys.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else, or a processor that lacks what is needed.
    pub(super) fn new(settings: &SslSettings) -> Result<Tls, String> {
        check_processor()?;
        let provider = Arc::new(rustls_graviola::default_provider());
        let verifier = Verifier::new(settings, Arc::clone(&provider))?;
        let versions: &[_] = match settings.versions {
            (TlsVersion::V1_3, _) => &[&TLS13],
            (_, TlsVersion::V1_2) => &[&TLS12],
            _ => &[&TLS13, &TLS12],
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| format!("TLS: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = client_key(key)?;
                let built = builder.with_client_auth_cert(chain, key);
                built
                    .map_err(|error| format!("the client's certificate {}: {error}", certificate.display()))?
            }
            (Some(certificate), None) => {
                return Err(format!(
                    "the client's certificate {} needs its key: sslkey",
                    certificate.display()
                ));
            }
            _ => builder.with_no_client_auth(),
        };
        // Servers since PostgreSQL 17 insist on it where TLS begins without asking first.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Tls(Some(Arc::new(config))))
    }
}

/// The client's key. As in libpq nobody else may read it, except the group of one that is root's.
fn client_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let wrong = |reason: String| format!("the client's key {}: {reason}", path.display());
    let file = path.metadata().map_err(|error| wrong(error.to_string()))?;
    let allowed = if file.uid() == 0 { 0o740 } else { 0o700 };
    if file.mode() & 0o777 & !allowed != 0 {
        return Err(wrong("others may read it (chmod 0600; 0640 where it belongs to root)".to_owned()));
    }
    let content = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
    const SUPPORTED: &str = "what can be read is a PEM file without a password";
    let convert = |more: &str| {
        let path = path.display();
        format!("to make one: (umask 077; openssl pkey{more} -in '{path}' -out '{path}.pem')")
    };
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(wrong(format!("it is encrypted; {SUPPORTED}; {}", convert(""))));
    }
    if !has(b"-----BEGIN ") {
        return Err(wrong(format!("it is not PEM, DER perhaps; {SUPPORTED}; {}", convert(" -inform der"))));
    }
    PrivateKeyDer::from_pem_slice(&content).map_err(|error| wrong(format!("{error}; {SUPPORTED}")))
}

/// The library stops the process where these are missing.
fn check_processor() -> Result<(), String> {
    #[cfg(target_arch = "x86_64")]
    {
        let has = [
            ("AES", is_x86_feature_detected!("aes")),
            ("PCLMULQDQ", is_x86_feature_detected!("pclmulqdq")),
            ("SSSE3", is_x86_feature_detected!("ssse3")),
            ("AVX", is_x86_feature_detected!("avx")),
            ("AVX2", is_x86_feature_detected!("avx2")),
            ("BMI1", is_x86_feature_detected!("bmi1")),
            ("BMI2", is_x86_feature_detected!("bmi2")),
            ("ADX", is_x86_feature_detected!("adx")),
        ];
        let missing: Vec<&str> = has.iter().filter(|(_, has)| !has).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            return Err(format!(
                "TLS needs a processor with {}: use sslmode=disable over a line that is safe otherwise",
                missing.join(", ")
            ));
        }
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{} holds no certificate (PEM)", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Whether the peer has refused us in TLS's own words. From TLS 1.3 on that comes after the handshake, where a server
/// does not like the client's certificate; the same will happen again.
pub(super) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(TlsError::AlertReceived(alert)) = inner.and_then(|inner| inner.downcast_ref()) {
            return matches!(
                alert,
                AlertDescription::HandshakeFailure
                    | AlertDescription::BadCertificate
                    | AlertDescription::UnsupportedCertificate
                    | AlertDescription::CertificateRevoked
                    | AlertDescription::CertificateExpired
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::CertificateRequired
                    | AlertDescription::UnknownCA
                    | AlertDescription::AccessDenied
                    | AlertDescription::ProtocolVersion
                    | AlertDescription::InsufficientSecurity
                    | AlertDescription::NoApplicationProtocol
            );
        }
        next = error.source();
    }
    false
}

/// Checks as much as the sslmode asks for.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: nobody is checked.
    chain: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl Verifier {
    fn new(settings: &SslSettings, provider: Arc<CryptoProvider>) -> Result<Verifier, String> {
        let roots = match &settings.roots {
            // With a root at hand `require` has always been verify-ca in libpq.
            _ if settings.mode < SslMode::Require => Vec::new(),
            Roots::None => Vec::new(),
            Roots::File(path) => certificates(path)?,
            Roots::System => rustls_native_certs::load_native_certs().certs,
        };
        let chain = if roots.is_empty() {
            if settings.mode >= SslMode::VerifyCa {
                return Err("the system trusts no authority: name one with sslrootcert=FILE".to_owned());
            }
            None
        } else {
            let mut store = RootCertStore::empty();
            let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
            if added == 0 {
                return Err("none of the certificates in sslrootcert can be used as a root".to_owned());
            }
            let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
            Some(built.build().map_err(|error| format!("sslrootcert: {error}"))?)
        };
        Ok(Verifier { provider, chain, roots, checks_name: settings.mode == SslMode::VerifyFull })
    }

    /// A certificate that is trusted itself needs no chain; its dates and names still count.
    fn verify_itself(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
    ) -> Result<(), TlsError> {
        let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
        if self.checks_name {
            rustls::client::verify_server_name(&parsed, server_name)?;
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.roots.iter().any(|root| root == end_entity) {
            return self.verify_itself(end_entity, server_name).map(|()| ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Secured<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        // A socket in the file system has no name, and no TLS either.
        let secured = match &self.0 {
            Some(config) if !domain.is_empty() => {
                let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
                Some((TlsConnector::from(Arc::clone(config)), name))
            }
            _ => None,
        };
        Ok(Handshake(secured))
    }
}

/// One handshake that is due.
pub(super) struct Handshake(Option<(TlsConnector, ServerName<'static>)>);

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Secured<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let (connector, name) = self.0.ok_or_else(|| io::Error::other("TLS is off"))?;
            let stream = connector.connect(name, stream).await?;
            Ok(Secured(Box::new(stream)))
        })
    }
}

/// A secured stream that knows what SCRAM binds to.
pub(super) struct Secured<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S> fmt::Debug for Secured<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secured")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secured<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, connection) = self.0.get_ref();
        let end_entity = connection.peer_certificates().and_then(|chain| chain.first());
        match end_entity.and_then(|certificate| end_point_hash(certificate)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

/// `tls-server-end-point` (RFC 5929): the certificate, hashed as its signature was, MD5 and SHA-1 replaced
/// by SHA-256. None where the signature has no hash of its own (Ed25519), as in libpq.
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    /// RSA-PSS names its hash in its parameters: the last number of the OID of each hash.
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

    let (certificate_fields, _) = element(certificate, 0x30)?;
    let (_, rest) = element(certificate_fields, 0x30)?;
    let (algorithm, _) = element(rest, 0x30)?;
    let (oid, parameters) = element(algorithm, 0x06)?;
    let bits = match oid {
        [prefix @ .., last] if prefix == RSA => match last {
            4 | 5 | 11 => 256,
            12 => 384,
            13 => 512,
            10 => {
                let at = parameters.windows(SHA2.len()).position(|window| window == SHA2);
                match at.and_then(|at| parameters.get(at + SHA2.len())) {
                    Some(2) => 384,
                    Some(3) => 512,
                    _ => 256,
                }
            }
            _ => return None,
        },
        [prefix @ .., 1] if prefix == ECDSA => 256,
        [prefix @ .., 3, last] if prefix == ECDSA => match last {
            3 => 384,
            4 => 512,
            _ => 256,
        },
        _ => return None,
    };
    Some(match bits {
        384 => Sha384::digest(certificate).to_vec(),
        512 => Sha512::digest(certificate).to_vec(),
        _ => Sha256::digest(certificate).to_vec(),
    })
}

/// The content of a DER element with this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let length = rest.get(..count)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, &rest[count..])
        }
        _ => return None,
    };
    (found == tag && length <= rest.len()).then(|| rest.split_at(length))
}
