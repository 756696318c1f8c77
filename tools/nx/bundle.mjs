// Bundles the app in the working directory into dist/main.js. Native and dynamically loaded packages stay outside.
import { build } from 'esbuild'

await build({
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node26',
  format: 'esm',
  sourcemap: true,
  logLevel: 'warning',
})
