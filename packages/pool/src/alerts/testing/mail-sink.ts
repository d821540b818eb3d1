import { SMTPServer } from "smtp-server";

export interface TakenMail {
  readonly to: readonly string[];
  readonly from: string;
  /** Headers and body as they came over the wire. */
  readonly raw: string;
  /** It came over TLS. */
  readonly secure: boolean;
}

export interface MailSink extends AsyncDisposable {
  readonly url: string;
  readonly taken: readonly TakenMail[];
  /** Refuses recipients with this SMTP status; undefined: takes them. */
  refuse: number | undefined;
  /** Takes mails and does not say so, ever. */
  silent: boolean;
}

/**
 * A mail server that takes every mail, as a user `pool` with the password `secret`. With a certificate it offers STARTTLS,
 * and hears no password before.
 */
export async function openMailSink(tls?: { readonly cert: string; readonly key: string }): Promise<MailSink> {
  const taken: TakenMail[] = [];
  const sink: Pick<MailSink, "refuse" | "silent"> = { refuse: undefined, silent: false };
  const server = new SMTPServer({
    ...(tls ?? { disabledCommands: ["STARTTLS"] }),
    authMethods: ["PLAIN", "LOGIN"],
    allowInsecureAuth: tls === undefined,
    onAuth(auth, _session, callback) {
      if (auth.username === "pool" && auth.password === "secret") callback(null, { user: "pool" });
      else callback(new Error("no"));
    },
    onRcptTo(_address, _session, callback) {
      if (sink.refuse === undefined) callback();
      else callback(Object.assign(new Error("not now"), { responseCode: sink.refuse }));
    },
    onData(stream, session, callback) {
      let raw = "";
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => (raw += chunk));
      stream.on("end", () => {
        const { mailFrom, rcptTo } = session.envelope;
        const from = mailFrom === false ? "" : mailFrom.address;
        taken.push({ to: rcptTo.map((one) => one.address), from, raw, secure: session.secure });
        if (!sink.silent) callback();
      });
    },
  });
  server.on("error", () => {});
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address = server.server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return Object.assign(sink, {
    url: `smtp://pool:secret@127.0.0.1:${port}`,
    taken,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  });
}
