/**
 * Standard base64 with padding, CR and LF ignored, as Go's decoder reads it; on the first illegal byte, where it stands.
 */
export function decodeBase64(text: string): Uint8Array | { readonly illegalAt: number } {
  const clean = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, "") : text;
  const illegal = clean.search(/[^A-Za-z0-9+/=]/);
  if (illegal >= 0) return { illegalAt: illegal };
  const padding = clean.indexOf("=");
  const length = padding < 0 ? clean.length : padding;
  if (padding >= 0) {
    if (length % 4 < 2) return { illegalAt: padding };
    const wanted = 4 - (length % 4);
    for (let i = 0; i < wanted; i++)
      if (clean[padding + i] !== "=") return { illegalAt: Math.min(padding + i, clean.length) };
    if (clean.length > padding + wanted) return { illegalAt: padding + wanted };
  } else if (clean.length % 4) {
    return { illegalAt: clean.length - (clean.length % 4) };
  }
  const binary = atob(clean);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
