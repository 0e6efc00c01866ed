-- Requests of bench/tracking.py for wrk: wrk -s tracking.lua URL -- KIND PREFIX FILE
-- FILE has one argument a line (run ids, or the one body). The time series of a run only grows: steps count up.
local kind, prefix, lines, batch = nil, nil, {}, nil
local count = 0
offset = 0
local headers = {["Content-Type"] = "application/json"}

local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("offset", threads * 1000000)
end

function init(args)
  kind, prefix = args[1], args[2]
  for line in io.lines(args[3]) do lines[#lines + 1] = line end
  math.randomseed(offset + 7)
  if kind == "log-batch" then
    -- 10 keys of 100 points each. The text is made once; @ stands for the request's number, so that steps go on.
    local points = {}
    for step = 1, 100 do
      for key = 1, 10 do
        points[#points + 1] = string.format('{"key":"m%d","value":%.17g,"timestamp":17@%02d000,"step":@%02d}', key,
                                            math.random(), step - 1, step - 1)
      end
    end
    batch = ',"metrics":[' .. table.concat(points, ",") .. "]}"
  end
end

function request()
  count = count + 1
  local line = lines[(count - 1) % #lines + 1]
  if kind == "log-metric" then
    local body = string.format('{"run_id":"%s","key":"loss","value":%.17g,"timestamp":%d,"step":%d}', line,
                               math.random(), 1700000000000 + offset + count, offset + count)
    return wrk.format("POST", prefix .. "runs/log-metric", headers, body)
  elseif kind == "log-batch" then
    return wrk.format("POST", prefix .. "runs/log-batch", headers,
                      '{"run_id":"' .. line .. '"' .. batch:gsub("@", tostring(offset + count)))
  elseif kind == "create-run" then
    local body = string.format('{"experiment_id":"%s","run_name":"r%d","start_time":%d,"tags":[' ..
      '{"key":"mlflow.user","value":"bench"},{"key":"mlflow.source.name","value":"train.py"},' ..
      '{"key":"mlflow.source.type","value":"LOCAL"}]}', line, count, 1700000000000 + count)
    return wrk.format("POST", prefix .. "runs/create", headers, body)
  elseif kind == "search-runs" then
    return wrk.format("POST", prefix .. "runs/search", headers, line)
  end
  return wrk.format("GET", prefix .. line)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"bad":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f,"bytes":%d}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.bytes))
end
