import { createServer, type IncomingHttpHeaders } from "node:http";

export interface Taken {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** How a sink answers: a status, headers, a body. */
export interface SinkAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpSink extends AsyncDisposable {
  readonly url: string;
  readonly taken: readonly Taken[];
  /** What it answers from now on. */
  answer: (taken: Taken) => SinkAnswer;
}

/** A server that takes every request and remembers it. */
export async function openHttpSink(answer: (taken: Taken) => SinkAnswer = () => ({ status: 200 })): Promise<HttpSink> {
  const taken: Taken[] = [];
  const sink = {
    url: "",
    taken,
    answer,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      const one = { method: request.method ?? "", path: request.url ?? "", headers: request.headers, body };
      const { status, headers, body: text } = sink.answer(one);
      taken.push(one);
      response.writeHead(status, headers).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  sink.url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  return sink;
}
