// Starts `puyu serve` on a free port, for tests, and ends it with them.
import { spawn } from "node:child_process";
import { after } from "node:test";

export function serve(...args) {
  const child = spawn(process.env.PUYU, ["serve", process.env.MODEL, "--port=0", "--name=tiny", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  after(async () => {
    child.kill("SIGTERM");
    await gone;
  });
  return new Promise((resolve, reject) => {
    let out = "";
    gone.then((code) => reject(new Error(`puyu serve ended early with code ${code}`)));
    child.stdout.on("data", (bytes) => {
      out += bytes;
      const found = out.match(/http:\/\/[^:]+:(\d+)/);
      if (found) resolve(`http://127.0.0.1:${found[1]}`);
    });
  });
}

// The error that a call ends in; a call that succeeds is a failure.
export async function failure(call) {
  try {
    await call;
  } catch (e) {
    return e;
  }
  throw new Error("expected the call to fail");
}

export async function collect(stream) {
  const out = [];
  for await (const chunk of stream) out.push(chunk);
  return out;
}

export const post = (url, body) =>
  fetch(url, { method: "POST", body: JSON.stringify(body) }).then((r) => r.json());

// The numbers of /metrics by name and labels.
export async function metrics(url) {
  const lines = (await (await fetch(url + "/metrics")).text()).split("\n").filter((l) => l && !l.startsWith("#"));
  return Object.fromEntries(lines.map((l) => [l.slice(0, l.lastIndexOf(" ")), Number(l.slice(l.lastIndexOf(" ")))]));
}

// Asks until the answer is what is waited for.
export async function until(ask, done) {
  for (let i = 0; i < 1000; ++i) {
    const answer = await ask();
    if (done(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("waited in vain");
}

// A logit_bias with which the tiny model calls a tool as soon as it may: the id of <|action_start|>.
export const callsAtOnce = { 509: 100 };
