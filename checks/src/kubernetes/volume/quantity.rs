//! Sizes as Kubernetes writes them.

/// Bytes: `10Gi`, `5G`, `1e9`, `1024`. `None` for what is no size.
pub(super) fn bytes(quantity: &str) -> Option<f64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1_024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let found = SUFFIXES.iter().find_map(|(suffix, unit)| Some((quantity.strip_suffix(suffix)?, *unit)));
    let (number, unit) = found.unwrap_or((quantity, 1.0));
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = number.parse().ok().filter(|_| plain)?;
    Some(number * unit).filter(|bytes| bytes.is_finite() && *bytes >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_means_them() {
        let read = ["10Gi", "10G", "1024", "1e3", "0.5Ki", "1500m", "1E"].map(bytes);
        assert_eq!(read, [10_737_418_240.0, 1e10, 1024.0, 1000.0, 512.0, 1.5, 1e18].map(Some));
        assert_eq!(["", "Gi", "ten", "10 Gi", "-1Gi", "inf", "nan", "1KiB", "no capacity"].map(bytes), [None; 9]);
    }
}
