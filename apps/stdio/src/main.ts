import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'stdio', about: 'standard streams and logs of one node', parts: [part.stdio] })
