import { parts, runApp } from '@flotilla/compose'

await runApp({
  name: 'standalone',
  about: 'the whole containerd API on one socket, with its own metadata store and message bus',
  parts,
  embedsStores: true,
  isGateway: true,
})
