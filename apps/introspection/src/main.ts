import { part, runApp } from '@flotilla/compose'

await runApp({
  name: 'introspection',
  about: 'introspection and version in a process of their own',
  parts: [part.introspection],
})
