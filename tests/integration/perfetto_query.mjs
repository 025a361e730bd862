// Loads a trace into Perfetto's own trace processor and prints what it answers to queries, a JSON line each.
//
//     node perfetto_query.mjs ENGINE_FOLDER TRACE QUERY...
//
// ENGINE_FOLDER holds engine_bundle.js and trace_processor*.wasm: the part of ui.perfetto.dev that reads traces, which runs
// in a browser's worker. Here it runs in a context that looks like one. What it is sent and answers are protobuf messages of
// perfetto/trace_processor/trace_processor.proto, of which the few fields used are written and read by hand.

import fs from "node:fs";
import path from "node:path";
import vm from "node:vm";

const [folder, trace, ...queries] = process.argv.slice(2);

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}
const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, data) => Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);

// The fields of a message: [number, value] pairs; values of wire type 2 are buffers, of type 0 BigInts.
function* fields(data) {
  let at = 0;
  const next = () => {
    let value = 0n, shift = 0n, byte;
    do {
      byte = data[at++];
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
    } while (byte & 128);
    return BigInt.asIntN(64, value);
  };
  while (at < data.length) {
    const key = Number(next());
    const kind = key & 7;
    if (kind === 0) yield [key >> 3, next()];
    else {
      const size = kind === 2 ? Number(next()) : kind === 1 ? 8 : 4;
      yield [key >> 3, data.subarray(at, (at += size))];
    }
  }
}

// The rows of a QueryResult message: column names (1), error (2), batches (3).
function* rows(result) {
  const columns = [];
  for (const [field, value] of fields(result)) {
    if (field === 1) columns.push(value.toString());
    if (field === 2) throw new Error(value.toString());
    if (field !== 3) continue;
    // Of a batch: kinds of the cells (1), integers (2), doubles (3), texts ended by NUL (5).
    const batch = Object.fromEntries([...fields(value)].filter(([, part]) => Buffer.isBuffer(part)));
    const integers = batch[2] ? packed(batch[2]) : [];
    const texts = batch[5] ? batch[5].toString().split("\0") : [];
    let double = 0;
    const cells = [...(batch[1] ?? [])].map((kind) => {
      if (kind === 2) return Number(integers.shift());
      if (kind === 3) return batch[3].readDoubleLE(8 * double++);
      return kind === 4 ? texts.shift() : null;
    });
    while (cells.length) yield Object.fromEntries(columns.map((name) => [name, cells.shift()]));
  }
}
function packed(data) {
  const values = [];
  for (let value = 0n, shift = 0n, at = 0; at < data.length; at++) {
    value |= BigInt(data[at] & 127) << shift;
    shift += 7n;
    if (!(data[at] & 128)) {
      values.push(BigInt.asIntN(64, value));
      value = shift = 0n;
    }
  }
  return values;
}

const replies = [];
const port = { postMessage: (data) => replies.push(Buffer.from(data)) };
const worker = {
  console: { log() {}, warn() {}, error() {} },
  TextDecoder, TextEncoder, URL, performance, setTimeout, clearTimeout, Uint8Array, crypto: globalThis.crypto,
  location: { href: "worker" },
  importScripts() {},
  XMLHttpRequest: class {
    open(_, name) {
      this.response = Uint8Array.from(fs.readFileSync(path.join(folder, path.basename(String(name))))).buffer;
    }
    send() {}
  },
};
worker.self = worker.globalThis = worker.WorkerGlobalScope = worker;
vm.createContext(worker);
vm.runInContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"), worker);
worker.onmessage({ data: port });

let sequence = 0;
function ask(method, field, argument) {
  const request = [number(1, ++sequence), number(2, method)];
  if (field) request.push(bytes(field, argument));
  const message = bytes(1, Buffer.concat(request));
  replies.length = 0;
  port.onmessage({ data: worker.Uint8Array.from(message) });
  const found = [];
  for (const reply of replies) {
    for (const [, answer] of fields(reply)) {
      for (const [key, value] of fields(answer)) {
        if (key === 4 || key === 5) throw new Error(`the trace processor refuses: ${value}`);
        found.push([key, value]);
      }
    }
  }
  return found;
}

// It is ready a while after it was started; how long depends on the machine.
for (let turn = 0; turn < 3000 && !port.ready; turn++) {
  await new Promise((done) => setTimeout(done, 100));
  try {
    ask(1, 101, fs.readFileSync(trace));
    port.ready = true;
  } catch (error) {
    if (!(error instanceof TypeError || String(error).includes("undefined"))) throw error;
  }
}
ask(2);
for (const query of queries) {
  const found = ask(3, 103, bytes(1, Buffer.from(query)));
  const answer = found.filter(([key]) => key === 203).flatMap(([, result]) => [...rows(result)]);
  console.log(JSON.stringify(answer));
}
process.exit(0);
