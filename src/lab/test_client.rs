//! A small HTTP/2 client for the lab's own tests.

use std::net::SocketAddr;

use boring::ssl::{SslConnector, SslMethod, SslVersion};
use boring::x509::X509;
use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use super::authority::Authority;

/// A client that always sends the same ClientHello, unless `ciphers` is set.
pub(super) struct TestClient<'a> {
    pub(super) addr: SocketAddr,
    pub(super) authority: &'a Authority,
    pub(super) ciphers: Option<&'static str>,
}

pub(super) struct TestResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl TestClient<'_> {
    pub(super) async fn get(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        self.send("GET", host, path, headers, "").await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TestResponse {
        let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
        connector
            .cert_store_mut()
            .add_cert(X509::from_pem(self.authority.ca_pem().as_bytes()).unwrap())
            .unwrap();
        connector.set_alpn_protos(b"\x02h2").unwrap();
        if let Some(ciphers) = self.ciphers {
            connector.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
            connector.set_cipher_list(ciphers).unwrap();
        }
        let tcp = TcpStream::connect(self.addr).await.unwrap();
        let config = connector.build().configure().unwrap();
        let tls = tokio_boring::connect(config, host, tcp).await.unwrap();
        let (client, connection) = h2::client::handshake(tls).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("https://{host}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut client = client.ready().await.unwrap();
        let (response, mut sink) = client.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
        if !body.is_empty() {
            sink.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        }
        let (head, mut stream) = response.await.unwrap().into_parts();
        let mut text = Vec::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk.unwrap();
            text.extend_from_slice(&chunk);
            stream.flow_control().release_capacity(chunk.len()).unwrap();
        }
        driver.abort();
        TestResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(text).unwrap(),
        }
    }
}
