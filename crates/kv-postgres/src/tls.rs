//! Encryption of connections.

use kv_core::waits::as_task;
use kv_core::{Error, Result};
use tokio_postgres::{Client, Connection, Socket};

use crate::error::of_open;
use crate::url::Target;

#[cfg(feature = "tls")]
pub(crate) use encrypted::Tls;
#[cfg(not(feature = "tls"))]
pub(crate) use plain::Tls;

#[cfg(feature = "tls")]
type Stream = encrypted::Stream;
#[cfg(not(feature = "tls"))]
type Stream = tokio_postgres::tls::NoTlsStream;

/// Connects to the first server of the URL that takes commits. Somebody has to poll the connection.
pub(crate) async fn connect(target: &Target) -> Result<(Client, Connection<Socket, Stream>)> {
    let (config, connector) = (target.config.clone(), target.tls.connector());
    // A task, because it has timers, and a thread of the store may ask when the runtime has ended.
    match as_task(async move { config.connect(connector).await }).await {
        Some(connected) => connected.map_err(|error| of_open(error, &target.location)),
        None => Err(Error::Unavailable {
            reason: "the runtime ended".to_owned(),
            source: None,
        }),
    }
}

#[cfg(not(feature = "tls"))]
mod plain {
    use tokio_postgres::NoTls;

    use crate::url::Encryption;

    /// Nothing: encryption was not built.
    #[derive(Clone)]
    pub(crate) struct Tls;

    impl Tls {
        pub(crate) fn new(_asked: &Encryption) -> Result<Self, String> {
            Ok(Self)
        }

        pub(crate) fn connector(&self) -> NoTls {
            NoTls
        }
    }
}

#[cfg(feature = "tls")]
mod encrypted {
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio_postgres::Socket;
    use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
    use tokio_rustls::TlsConnector;

    use crate::url::Encryption;

    /// What connections are encrypted with.
    #[derive(Clone)]
    pub(crate) struct Tls(Arc<ClientConfig>);

    impl Tls {
        /// Reads the certificates that are trusted. An error says what is wrong with them.
        pub(crate) fn new(asked: &Encryption) -> Result<Self, String> {
            let provider = Arc::new(ring::default_provider());
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            let builder = builder
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            let config = match asked {
                Encryption::Verified { roots } => {
                    let roots = match roots {
                        Some(path) => from_file(path)?,
                        None => of_the_system()?,
                    };
                    builder.with_root_certificates(roots)
                }
                Encryption::Off | Encryption::Preferred => builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            };
            Ok(Self(Arc::new(config.with_no_client_auth())))
        }

        pub(crate) fn connector(&self) -> Self {
            self.clone()
        }
    }

    fn from_file(path: &std::path::Path) -> Result<RootCertStore, String> {
        let failed = |error: &dyn std::fmt::Display| format!("sslrootcert={}: {error}", path.display());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
        if roots.is_empty() {
            return Err(failed(&"the file has no certificate; give one in PEM form"));
        }
        Ok(roots)
    }

    fn of_the_system() -> Result<RootCertStore, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Systems have some that are too old to be understood.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(
                "the system has no certificates to trust; install them (Debian: ca-certificates), or give the \
                 certificate of the server's authority by sslrootcert=PATH"
                    .to_owned(),
            );
        }
        Ok(roots)
    }

    /// Takes any certificate. Encryption that is left out where the server has none proves nothing about the server in
    /// any case.
    #[derive(Debug)]
    struct Anybody(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(
                message,
                certificate,
                signature,
                &self.0.signature_verification_algorithms,
            )
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(
                message,
                certificate,
                signature,
                &self.0.signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    impl MakeTlsConnect<Socket> for Tls {
        type Stream = Stream;
        type TlsConnect = Handshake;
        type Error = InvalidDnsNameError;

        fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
            Ok(Handshake {
                connector: TlsConnector::from(Arc::clone(&self.0)),
                server: ServerName::try_from(domain)?.to_owned(),
            })
        }
    }

    pub(crate) struct Handshake {
        connector: TlsConnector,
        server: ServerName<'static>,
    }

    impl TlsConnect<Socket> for Handshake {
        type Stream = Stream;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

        fn connect(self, socket: Socket) -> Self::Future {
            Box::pin(async move { self.connector.connect(self.server, socket).await.map(Stream) })
        }
    }

    /// An encrypted connection.
    pub(crate) struct Stream(tokio_rustls::client::TlsStream<Socket>);

    impl TlsStream for Stream {
        fn channel_binding(&self) -> ChannelBinding {
            ChannelBinding::none()
        }
    }

    impl AsyncRead for Stream {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, buffer)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }
}
