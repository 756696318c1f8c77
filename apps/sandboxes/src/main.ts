import { part, runApp } from '@flotilla/compose'

await runApp({
  name: 'sandboxes',
  about: 'records of sandboxes and the sandboxes that run, in a process of its own',
  parts: [part.sandboxes],
})
