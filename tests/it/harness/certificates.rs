//! Certificates for servers and clients, signed by themselves.

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::Dir;
use super::tools::said;

/// Writes `name.pem` and `name.key` as `openssl req -x509` makes them: for 30 days, an authority's. Names
/// are among the further arguments.
pub fn openssl_req(dir: &Dir, name: &str, more: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "30", "-subj", "/CN=localhost"]).args(more);
    command.arg("-out").arg(dir.path(&format!("{name}.pem")));
    command.arg("-keyout").arg(dir.path(&format!("{name}.key")));
    said(&mut command);
}

/// Writes `name.pem` and `name.key`: a certificate for localhost, or with these names, from the year
/// `first` to the year `last`, which is an authority's, as OpenSSL makes them, or not.
pub fn make(dir: &Dir, name: &str, names: &[&str], is_authority: bool, (first, last): (i32, i32)) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_before = date_time_ymd(first, 1, 1);
    params.not_after = date_time_ymd(last, 1, 1);
    let key = KeyPair::generate().unwrap();
    dir.write(&format!("{name}.pem"), &params.self_signed(&key).unwrap().pem());
    dir.write(&format!("{name}.key"), &key.serialize_pem());
}
