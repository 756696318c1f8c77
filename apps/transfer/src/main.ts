import { part, runApp } from '@flotilla/compose'

await runApp({
  name: 'transfer',
  about: 'images between registries, archives and the store of one node',
  parts: [part.transfer],
})
