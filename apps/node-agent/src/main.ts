import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'node-agent', about: 'snapshot drivers and shims of one node', parts: [part.nodeAgent] })
