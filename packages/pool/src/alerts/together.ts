import { describeTimed } from "./message.ts";
import type { Channel, ClaimedDelivery } from "./types.ts";

/**
 * So much text every service takes, with the title and the links beside it: ntfy 3,000 bytes, Discord 3,500 letters, Telegram
 * 4,096 of all together. A service refuses more, or what is beyond is cut off and nobody reads it.
 */
const MOST_BYTES = 2_800;

/**
 * What of a destination's deliveries makes one message. Programs take one at a time; people would rather read one than twenty,
 * as far as it fits. What was in a message before comes in that same one again, with its id: whoever has seen it already
 * drops it.
 */
export function messagesOf(
  channel: Pick<Channel, "kind">,
  deliveries: readonly ClaimedDelivery[],
): readonly (readonly ClaimedDelivery[])[] {
  const messages: ClaimedDelivery[][] = [];
  const open = new Map<string, { readonly message: ClaimedDelivery[]; bytes: number }>();
  for (const one of deliveries) {
    const triedWith = one.attempts === 0 ? "" : `${one.attempts} ${one.nextAtMs}`;
    const key = channel.kind === "webhook" ? one.id : `${triedWith} ${one.cutOffAtMs ?? ""}`;
    const bytes = Buffer.byteLength(describeTimed(one.alert)) + 2;
    const into = open.get(key);
    if (into && (channel.kind === "email" || into.bytes + bytes <= MOST_BYTES)) {
      into.message.push(one);
      into.bytes += bytes;
    } else {
      const message = [one];
      messages.push(message);
      open.set(key, { message, bytes });
    }
  }
  return messages;
}
