-- Requests of bench/features.py for wrk: wrk -s features.lua URL -- PATH PREFIX FILE
-- FILE has one body a line; each is POSTed to /PATH in turn.
local path, bodies = nil, {}
local count = 0
local headers = {["Content-Type"] = "application/json"}

function init(args)
  path = args[2] .. args[1]
  for line in io.lines(args[3]) do bodies[#bodies + 1] = line end
end

function request()
  count = count + 1
  return wrk.format("POST", path, headers, bodies[(count - 1) % #bodies + 1])
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"bad":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f,"bytes":%d}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.bytes))
end
