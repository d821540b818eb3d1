/** A small MPEG-TS writer, for streams that FFmpeg would not write. */
export interface PesUnit {
  readonly data: Uint8Array;
  /** 90 kHz. */
  readonly pts?: number;
  readonly dts?: number;
}

export interface MuxOptions {
  readonly streamType?: number;
  /** Leaves out the programme tables. */
  readonly noTables?: boolean;
  /** Puts the tables behind everything else. */
  readonly tablesLast?: boolean;
  /** Streams that are announced besides, so that the table spans packets. */
  readonly extraStreams?: number;
  /** Bytes of the first packet of each unit that are left for payload. */
  readonly firstPayload?: number;
}

const VIDEO_PID = 0x100;
const PMT_PID = 0x20;

/** Payload in packets of 188 bytes, the last one filled up. */
function packetize(pid: number, payload: Uint8Array, counter: { value: number }, firstPayload = 184): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let at = 0; at < payload.length;) {
    const most = at === 0 ? firstPayload : 184;
    const count = Math.min(most, payload.length - at);
    const packet = new Uint8Array(188).fill(0xff);
    packet.set([0x47, (at === 0 ? 0x40 : 0) | (pid >> 8), pid & 255, 0x10 | counter.value]);
    counter.value = (counter.value + 1) & 15;
    if (count < 184) {
      packet[3] = (packet[3] ?? 0) | 0x20;
      packet[4] = 183 - count;
      if (count < 183) packet[5] = 0;
    }
    packet.set(payload.subarray(at, at + count), 188 - count);
    packets.push(packet);
    at += count;
  }
  return packets;
}

function section(tableId: number, body: readonly number[]): Uint8Array {
  const length = 5 + body.length + 4;
  return new Uint8Array([0, tableId, 0xb0 | (length >> 8), length & 255, 0, 1, 0xc1, 0, 0, ...body, 0, 0, 0, 0]);
}

function stamp(prefix: number, value: number): number[] {
  const high = Math.floor(value / 2 ** 30) & 7;
  const middle = Math.floor(value / 2 ** 15) & 0x7fff;
  const low = value & 0x7fff;
  return [(prefix << 4) | (high << 1) | 1, middle >> 7, ((middle & 127) << 1) | 1, low >> 7, ((low & 127) << 1) | 1];
}

function pes({ data, pts, dts }: PesUnit): Uint8Array {
  const times =
    pts === undefined ? [] : [...stamp(dts === undefined ? 2 : 3, pts), ...(dts === undefined ? [] : stamp(1, dts))];
  const flags = pts === undefined ? 0 : dts === undefined ? 0x80 : 0xc0;
  return concat([new Uint8Array([0, 0, 1, 0xe0, 0, 0, 0x80, flags, times.length, ...times]), data]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function muxTs(units: readonly PesUnit[], options: MuxOptions = {}): Uint8Array {
  const type = options.streamType ?? 0x1b;
  const extra: number[] = [];
  for (let i = 0; i < (options.extraStreams ?? 0); i++)
    extra.push(0x06, 0xe1, 0x01 + i, 0xf0, 6, 0x05, 4, 0x4b, 0x4c, 0x56, 0x41);
  const pat = section(0, [0, 1, 0xe0 | (PMT_PID >> 8), PMT_PID & 255]);
  const pmt = section(2, [0xe1, 0, 0xf0, 0, ...extra, type, 0xe0 | (VIDEO_PID >> 8), VIDEO_PID & 255, 0xf0, 0]);
  const tables = options.noTables ? [] : [...packetize(0, pat, { value: 0 }), ...packetize(PMT_PID, pmt, { value: 0 })];
  const counter = { value: 0 };
  const video = units.flatMap((unit) => packetize(VIDEO_PID, pes(unit), counter, options.firstPayload));
  return concat(options.tablesLast ? [...video, ...tables] : [...tables, ...video]);
}

/** Cuts an H.264 byte stream with delimiters into its pictures. */
export function splitPictures(stream: Uint8Array): Uint8Array[] {
  const starts: number[] = [];
  for (let at = 0; at + 4 < stream.length; at++) {
    if (stream[at] === 0 && stream[at + 1] === 0 && stream[at + 2] === 1 && ((stream[at + 3] ?? 0) & 31) === 9) {
      starts.push(at > 0 && stream[at - 1] === 0 ? at - 1 : at);
    }
  }
  return starts.map((start, i) => stream.subarray(start, starts[i + 1] ?? stream.length));
}
