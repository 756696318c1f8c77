import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'diff', about: 'layer application and comparison on one node', parts: [part.diff] })
