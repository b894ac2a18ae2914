// A server as its own process, for tests that look at it from outside: its address, memory, metrics and end.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

export async function start(model, ...args) {
  const child = spawn(process.env.PUYU, ["serve", model, "--port=0", "--name=tiny", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  process.once("exit", () => child.kill("SIGKILL"));  // a test that fails leaves no server behind
  let out = "", log = "";
  child.stderr.on("data", (bytes) => (log += bytes));
  const gone = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const url = await new Promise((resolve, reject) => {
    gone.then((how) => reject(new Error(`puyu serve ended early: ${JSON.stringify(how)}\n${log}`)));
    child.stdout.on("data", (bytes) => {
      out += bytes;
      const found = out.match(/http:\/\/[^:]+:(\d+)/);
      if (found) resolve(`http://127.0.0.1:${found[1]}`);
    });
  });
  return {
    url,
    port: Number(new URL(url).port),
    gone,
    log: () => log,
    stop: () => child.kill("SIGTERM"),
    rss: [],
    rssMiB: () => Number(readFileSync(`/proc/${child.pid}/status`, "utf8").match(/RssAnon:\s+(\d+)/)[1]) / 1024,
    async metrics() {
      const lines = (await (await fetch(url + "/metrics")).text()).split("\n").filter((l) => l && !l.startsWith("#"));
      return Object.fromEntries(lines.map((l) => [l.slice(0, l.lastIndexOf(" ")), Number(l.slice(l.lastIndexOf(" ") + 1))]));
    },
  };
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A generator of numbers in [0, 1) that gives the same ones for the same seed.
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
