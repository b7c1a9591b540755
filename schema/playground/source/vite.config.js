import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

/** Most licences of the bundled packages ask that their text travels with the code; minifying drops it. */
function thirdPartyLicenses() {
  return {
    name: 'third-party-licenses',
    generateBundle() {
      const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
      const bundled = Object.keys(packages).filter((path) => path && !packages[path].dev && !packages[path].optional);
      this.emitFile({ type: 'asset', fileName: 'LICENSES.txt', source: bundled.sort().map(licenseOf).join('\n') });
    },
  };
}

function licenseOf(path) {
  const { name, version, license } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8'));
  const files = readdirSync(path).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
  const texts = files.map((file) => readFileSync(`${path}/${file}`, 'utf8').trim());
  return [`${'='.repeat(80)}\n${name} ${version} (${license})`, ...texts, ''].join('\n\n');
}

export default defineConfig({
  base: '/static/graphiql/',
  plugins: [thirdPartyLicenses()],
  build: {
    target: 'es2022',
    sourcemap: false,
    // Monaco is one piece; its size is known and served once.
    chunkSizeWarningLimit: 4000,
    rollupOptions: {
      onwarn(warning, warn) {
        // "use client" speaks to servers that render React; there is none here.
        if (warning.code !== 'MODULE_LEVEL_DIRECTIVE') warn(warning);
      },
    },
  },
  worker: { format: 'es' },
  esbuild: { jsx: 'automatic' },
});
