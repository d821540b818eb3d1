/** What the operator asked for, one entry a device or kind of device. */
export type DeviceRequest =
  | { readonly kind: "auto" }
  | { readonly kind: "cpu" }
  /** Undefined: all cards. */
  | { readonly kind: "nvidia"; readonly indexes: readonly number[] | undefined }
  /** A render node such as `/dev/dri/renderD128`; undefined: the first that works. */
  | { readonly kind: "vaapi" | "qsv"; readonly node: string | undefined }
  | { readonly kind: "amf" };

const help = "say auto, cpu, nvidia, nvidia:0,1, vaapi, vaapi:/dev/dri/renderD128, qsv or amf, or several with commas";

/** Reads a device list; on anything else, what is wrong with it. */
export function parseDevices(text: string): DeviceRequest[] | string {
  const requests: DeviceRequest[] = [];
  for (const item of text.split(",").map((part) => part.trim())) {
    const last = requests.at(-1);
    // `nvidia:0,1` has a comma inside: a bare number goes on with the cards named before it.
    if (/^\d+$/.test(item) && last?.kind === "nvidia" && last.indexes) {
      requests[requests.length - 1] = { kind: "nvidia", indexes: [...last.indexes, Number(item)] };
      continue;
    }
    const [kind = "", ...more] = item.split(":");
    const where = more.length > 0 ? more.join(":") : undefined;
    if ((kind === "auto" || kind === "cpu" || kind === "amf") && where === undefined) requests.push({ kind });
    else if (kind === "nvidia" && where === undefined) requests.push({ kind, indexes: undefined });
    else if (kind === "nvidia" && where !== undefined && /^\d+$/.test(where))
      requests.push({ kind, indexes: [Number(where)] });
    else if ((kind === "vaapi" || kind === "qsv") && where !== "") requests.push({ kind, node: where });
    else return `"${item}" is no device: ${help}`;
  }
  if (requests.length > 1 && requests.some(({ kind }) => kind === "auto")) return `auto stands alone: ${help}`;
  return requests;
}
