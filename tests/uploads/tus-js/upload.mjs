// Sends a file with tus-js-client: node upload.mjs FILE ENDPOINT TOKEN MEMORY [STOP_AFTER]
// MEMORY is where it remembers uploads; with STOP_AFTER it dies once so many bytes are on their way. A next run goes on.
import { createReadStream, statSync } from "node:fs";
import { FileUrlStorage, Upload } from "tus-js-client";

const [file, endpoint, token, memory, stopAfter] = process.argv.slice(2);

const upload = new Upload(createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: "from-js.raw" },
  uploadSize: statSync(file).size,
  chunkSize: Infinity,
  retryDelays: Array(100).fill(20),
  urlStorage: new FileUrlStorage(memory),
  fingerprint: async () => file,
  storeFingerprintForResuming: true,
  onProgress(sent) {
    if (stopAfter && sent >= Number(stopAfter)) process.exit(9);
  },
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    console.log(upload.url);
  },
});

const [earlier] = await upload.findPreviousUploads();
if (earlier) upload.resumeFromPreviousUpload(earlier);
upload.start();
